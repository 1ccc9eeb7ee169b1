"""Whether figures are of this code and these parameters: DVC's answer, in one line."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException

from dpr.base.errors import InputError

MADE = ("data/", "metrics/", "plots/")  # where the outputs of all stages are
SHOWN = 4  # names of what has changed


def stale(*stages: str, rev: str | None = None) -> str | None:
    """What to say if the outputs of stages, or of all that they need, are not what DVC would make.

    Args:
        stages: as dvc.yaml names them; none: all.
        rev: a revision or an experiment: its parameters and code against its dvc.lock; None: the
            workspace, with what lies there.
    """
    if rev is None and not Path("data/collection").exists():
        return "nothing has been run here: `make repro`, or `dvc pull` if there is a remote"
    try:
        names = list(dict.fromkeys(_changed(stages, rev)))
    except DvcException as error:
        return f"DVC cannot say whether figures are of this code and these parameters: {error}"
    if not names:
        return None
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (
        f"{'here' if rev is None else rev}: the figures are of earlier code or parameters "
        f"(other: {', '.join(names[:SHOWN])}{more}); `dvc repro` makes them anew"
    )


def warn(*stages: str) -> None:
    """Say it on stderr."""
    if said := stale(*stages):
        print(f"note: {said}", file=sys.stderr)


def require(*stages: str) -> None:
    """Raises InputError that says it."""
    if said := stale(*stages):
        raise InputError(said)


def _changed(stages: tuple[str, ...], rev: str | None) -> Iterator[str]:
    """Parameters, commands and files that are not as dvc.lock has them."""
    from dvc.repo import Repo  # here, since it takes a second to load

    with Repo(".", rev=rev) as repo:
        for target in stages or (None,):
            for stage, _ in repo.stage.collect_granular(target, with_deps=target is not None):
                if stage.changed_stage():
                    yield f"cmd of {stage.addressing}"
                for file in [*stage.deps, *stage.outs]:
                    if rev is None or not file.def_path.startswith(MADE):
                        yield from _names(file.status())


def _names(status: dict[str, Any]) -> Iterator[str]:
    """{"params.yaml": {"train": "modified"}} -> "train"; {"dpr/base": "modified"} -> "dpr/base"."""
    for path, found in status.items():
        yield from found if isinstance(found, dict) else [path]
