"""The stages of dvc.yaml, each `python -m stages.NAME`: parameters and files in, `dpr` in between.

`run` is all that they share: errors of the user's input as one line, and what the stage cost.
"""

import inspect
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dpr.errors import InputError

# Untracked: a time in an output would dirty dvc.lock. (DVC_ROOT: a queued one runs in a copy.)
COSTS = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch" / "costs.jsonl"


def run(main: Callable[..., None], *arguments: str, record: bool = True) -> None:
    """Call a stage's `main` with its command line arguments and `record` time and peak memory."""
    stage = Path(sys.argv[0]).stem
    name = " ".join([stage, *arguments])
    parameters = list(inspect.signature(main).parameters)
    if len(arguments) != len(parameters):
        sys.exit(" ".join(["usage: python -m", f"stages.{stage}", *map(str.upper, parameters)]))
    started = time.monotonic()
    try:
        main(*arguments)
    except InputError as error:
        sys.exit(f"{name}: {error}")
    if not record or os.environ.get("RANK", "0") != "0":  # of several processes the first records
        return
    unit = 2**20 if sys.platform == "linux" else 2**30  # of ru_maxrss: KiB, on macOS bytes
    cost = {
        "stage": name,
        "seconds": round(time.monotonic() - started, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 2),
    }
    print(f"{name}: {cost['seconds']:.0f} s, peak {cost['peak_gib']} GiB", file=sys.stderr)
    COSTS.parent.mkdir(exist_ok=True)
    with COSTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(cost) + "\n")
