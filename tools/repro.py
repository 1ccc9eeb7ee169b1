"""Run `dvc repro --keep-going` and say how long it takes; repair a truncated dvc.lock.

Reads dvc.yaml and params.yaml; runs the stages that have changed. It prints how far the run is and
about how long the rest takes here; before the training, also a table of the systems without one.
If a stage fails, the stages that do not depend on it still run. Plain DVC treats an interrupted
stage as failed and starts the next. DVC writes dvc.lock in place, so a kill may truncate it. This
tool then restores the version of the last commit, and DVC takes later results from its run cache.
`make repro` calls this tool.

    python -m tools.repro
    python -m tools.repro bm25_search search@dense      # these, and the stages that they need
    python -m tools.repro --dry                         # only says which run, and how long
"""

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from dvc.dvcfile import PROJECT_FILE, Lockfile
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo
from dvc.repo.reproduce import _reproduce_stage, collect_stages, get_active_graph, plan_repro
from dvc.stage import Stage

from dpr.base.errors import InputError
from dpr.base.interrupts import Terminated
from stages.run import SCRATCH, one_line_errors, parser
from tools.plan import Plan

LOCK, DAMAGED = Path("dvc.lock"), SCRATCH / "damaged.lock"
CONFLICT = re.compile(r"^(<<<<<<<|>>>>>>>)", re.MULTILINE)
STOPS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
stopped_by: list[type[KeyboardInterrupt]] = []


def main(targets: list[str], dry: bool = False) -> None:
    """Raises InputError if a stage fails, KeyboardInterrupt after a signal to stop."""
    if not dry:
        mend_lock()
    os.environ |= with_this_python()
    for number in STOPS:
        signal.signal(number, stop)
    with ThreadPoolExecutor(1) as thread:  # in the main thread DVC would ignore Ctrl-C
        done = thread.submit(reproduce, targets, dry).result()
    if not done:
        print("Data and pipelines are up to date.")


def mend_lock() -> None:
    """Replace a damaged dvc.lock with the version of the last commit.

    Raises:
        InputError: for a merge conflict, or if the last commit has no dvc.lock.
    """
    if not LOCK.exists():
        return
    try:
        Lockfile(Repo("."), str(LOCK)).load()
        return
    except NotDvcRepoError as error:
        raise InputError(str(error)) from None
    except DvcException:
        pass
    if CONFLICT.search(LOCK.read_text(encoding="utf-8", errors="replace")):
        raise InputError(
            f"{LOCK}: has merge conflicts; take one side (`git checkout --ours {LOCK}`, or "
            "--theirs), then run `dvc repro`, which runs the stages that the merge changed"
        )
    committed = subprocess.run(["git", "show", f"HEAD:{LOCK}"], capture_output=True)
    if committed.returncode:
        raise InputError(
            f"{LOCK}: damaged, and the last commit has none; remove it and run `dvc repro`"
        )
    DAMAGED.parent.mkdir(exist_ok=True)
    LOCK.replace(DAMAGED)
    LOCK.write_bytes(committed.stdout)
    print(f"{LOCK}: was damaged; restored from the last commit ({DAMAGED} has the old text)")


def with_this_python() -> dict[str, str]:
    """The environment with this Python first on PATH, since stages call `python -m ...`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return os.environ | {"PATH": path}


def stop(number: int, _: Any) -> None:
    """Start no further stage. Ctrl-C reaches the running stage too, but SIGTERM does not."""
    stopped_by.append(STOPS[signal.Signals(number)])
    if number == signal.SIGTERM:
        for child in psutil.Process().children(recursive=True):
            child.terminate()


def reproduce(targets: list[str], dry: bool) -> list[Stage]:
    try:
        with Repo(".") as repo:
            stages = collect_stages(repo, targets or [PROJECT_FILE])
            graph = get_active_graph(repo.index.graph)
            plan = Plan(plan_repro(graph, stages), graph)
            if dry:
                with repo.lock:
                    plan.announce()
                return plan.stages if plan.left else []

            def run_unless_stopped(stage: Stage, **options: Any) -> Stage | None:
                """Run a stage as DVC does, unless a signal to stop has arrived."""
                if not stopped_by:
                    try:
                        with plan.followed(stage):
                            if not stopped_by:  # during the forecast
                                return _reproduce_stage(stage, **options)
                    except Exception:
                        if not stopped_by:
                            raise
                raise stopped_by[0]

            done: list[Stage] = repo.reproduce(
                targets or None, on_error="keep-going", repro_fn=run_unless_stopped
            )
            return done
    except DvcException as error:
        raise InputError(str(error)) from None


if __name__ == "__main__":
    arguments = parser("tools.repro", __doc__)
    arguments.add_argument("targets", nargs="*", help="stages of dvc.yaml (default: all)")
    arguments.add_argument("--dry", action="store_true", help="only say what would run")
    chosen = arguments.parse_args()
    with one_line_errors("repro"):
        main(chosen.targets, chosen.dry)
