"""`dvc repro --keep-going` that one Ctrl-C ends: DVC takes a stage that was stopped for one that
failed, and goes on with the next.

Reads dvc.yaml and params.yaml; runs what has changed. What does not depend on a stage that fails is
run nevertheless. `make repro` calls it.

    python -m tools.repro
    python -m tools.repro bm25_search search@dense      # these, and what they need
"""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.reproduce import _reproduce_stage
from dvc.stage import Stage

from dpr.base.errors import InputError
from dpr.base.interrupts import Terminated
from stages.run import one_line_errors, parser
from tools.experiments import with_this_python

STOPS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
asked: list[type[KeyboardInterrupt]] = []  # what has asked to stop


def main(targets: list[str]) -> None:
    """Raises InputError if a stage fails, KeyboardInterrupt if it was asked to stop."""
    os.environ |= with_this_python()
    for number in STOPS:
        signal.signal(number, stop)
    with ThreadPoolExecutor(1) as thread:  # in the main thread DVC would ignore Ctrl-C
        done = thread.submit(reproduce, targets).result()
    if not done:
        print("Data and pipelines are up to date.")


def stop(number: int, _: Any) -> None:
    """After this stage, which a terminal's Ctrl-C reaches too, but a SIGTERM does not."""
    asked.append(STOPS[signal.Signals(number)])
    if number == signal.SIGTERM:
        for child in psutil.Process().children(recursive=True):
            child.terminate()


def reproduce(targets: list[str]) -> list[Stage]:
    try:
        with Repo(".") as repo:
            done: list[Stage] = repo.reproduce(
                targets or None, on_error="keep-going", repro_fn=until_stopped
            )
            return done
    except DvcException as error:
        raise InputError(str(error)) from None


def until_stopped(stage: Stage, **options: Any) -> Stage | None:
    """DVC's own, and no other after it once it was asked to stop."""
    if not asked:
        try:
            return _reproduce_stage(stage, **options)
        except Exception:
            if not asked:
                raise
    raise asked[0]


if __name__ == "__main__":
    arguments = parser("tools.repro", __doc__)
    arguments.add_argument("targets", nargs="*", help="stages of dvc.yaml; none: all")
    chosen = arguments.parse_args()
    with one_line_errors("repro"):
        main(chosen.targets)
