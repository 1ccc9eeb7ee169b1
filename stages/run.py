"""Shared by all commands: help from the docstring, errors in one line, scratch folder, costs."""

import argparse
import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from dpr.base.environment import is_first_process, processor
from dpr.base.errors import InputError, disk_error_message
from dpr.base.interrupts import Terminated, raise_on_sigterm
from dpr.records.types import ENCODERS
from dpr.settings import Round
from stages import versions

# Unfinished work and costs, which are no outputs: DVC deletes outputs before each run of a stage.
# DVC_ROOT is the main checkout, even for a queued experiment, which runs in a temporary folder.
SCRATCH = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch"
CHOICES = {"system": ENCODERS, "round_name": get_args(Round)}
BACK = "git restore params.yaml dvc.lock data metrics plots && dvc checkout"
COSTS = SCRATCH / "costs.jsonl"  # untracked: a time in an output would change dvc.lock


def run(main: Callable[..., str]) -> None:
    """Call a stage's `main` with the arguments of the command line; print its summary and cost.

    `main` returns the summary. Its parameters are the arguments: none, `system` or `round_name`.
    """
    module = sys.modules[main.__module__]
    stage = Path(str(module.__file__)).stem
    arguments = parser(f"stages.{stage}", module.__doc__)
    for name in inspect.signature(main).parameters:
        add_choice(arguments, name)
    given = list(vars(arguments.parse_args()).values())
    command = " ".join([stage, *given])
    started = time.monotonic()
    with one_line_errors(command, more=changed_params):
        versions.require_recorded()
        summary = main(*given)
        if is_first_process():
            cost = log_cost(command, time.monotonic() - started)
            print(f"{command}: {summary} ({cost})", file=sys.stderr)


def parser(module: str, docstring: str | None) -> argparse.ArgumentParser:
    """`--help` prints the docstring; wrong arguments end with exit code 2."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=docstring,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_choice(arguments: argparse.ArgumentParser, name: str) -> None:
    """The argument `system` or `round_name`."""
    choices, shown = CHOICES[name], name.removesuffix("_name").upper()
    arguments.add_argument(name, choices=choices, metavar=shown, help=" or ".join(choices))


@contextmanager
def one_line_errors(command: str, more: Callable[[], str] = str) -> Iterator[None]:
    """Turn errors into one line and an exit code.

    1 for bad input or a full disk, 130 for Ctrl-C, 143 for SIGTERM. If the program that reads the
    output has ended, such as `head`, print nothing and exit with 141.

    Args:
        more: returns more lines for bad input.
    """
    raise_on_sigterm()
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        try:
            print(flush=True)  # breaks again if stdout is the broken pipe
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
            sys.exit(141)
        raise
    except InputError as error:
        sys.exit("\n".join(filter(None, [f"{command}: {error}", more()])))
    except Exception as error:
        reason = disk_error_message(error)
        if reason is None:
            raise
        reason = ", ".join([reason, *getattr(error, "__notes__", [])[:1]])
        advice = "check disk space and permissions, then run it again; finished work is kept"
        sys.exit(f"{command}: {reason}; {advice}")
    except KeyboardInterrupt as stopped:
        print(f"{command}: stopped; finished work is kept: run it again", file=sys.stderr)
        sys.exit(143 if isinstance(stopped, Terminated) else 130)


def changed_params() -> str:
    """How to go back, if DVC runs this stage here and params.yaml differs from the last commit.

    A failed `dvc exp run -S` keeps its parameters and lacks the outputs of the failed stage. A
    queued or temporary experiment has a workspace of its own.
    """
    root = os.environ.get("DVC_ROOT")
    if not (is_first_process() and root and Path(root).resolve() == Path.cwd()):
        return ""
    status = ["git", "status", "--porcelain", "--", "params.yaml"]
    try:
        if not subprocess.run(status, capture_output=True).stdout:
            return ""  # also outside a git repository
    except OSError:  # no git
        return ""
    return (
        "params.yaml keeps the changed parameters, and outputs of this stage are gone. Correct the "
        f"parameters and run again; or go back to the last commit: {BACK}"
    )


def peak_gib() -> float:
    """Peak memory of this process."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 2**30
    import resource

    unit = 2**20 if sys.platform == "linux" else 2**30  # ru_maxrss is in KiB, on macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def log_cost(command: str, seconds: float) -> str:
    """Append time and peak memory to the log of `python -m tools.costs`; return both in words."""
    cost = {"stage": command, "seconds": round(seconds, 1), "peak_gib": round(peak_gib(), 2)}
    cost |= {"processor": processor(), "workspace": str(Path.cwd())}  # all workspaces share a log
    COSTS.parent.mkdir(exist_ok=True)
    cut = COSTS.exists() and not COSTS.read_bytes().endswith(b"\n")  # a kill cut the last line
    with COSTS.open("a", encoding="utf-8") as file:
        file.write("\n" * cut + json.dumps(cost) + "\n")
    return f"{seconds:.0f} s, {cost['peak_gib']} GiB"
