"""Print time and peak memory of each stage's last run in this workspace.

Reads .scratch/costs.jsonl, which the stages write. `--forget` instead removes finished
trainings and encodings from .scratch, so that `dvc repro --force` computes them again.

    python -m tools.costs
    python -m tools.costs --forget
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.base.resume import forget_finished
from dpr.evaluation.markdown_tables import table
from stages.run import COSTS, SCRATCH, one_line_errors, parser


def main(forget: bool = False) -> None:
    if forget:
        for work in ("train", "encode", "reranker"):
            forget_finished(SCRATCH / work)
    else:
        print(table(*last()))


def in_workspace() -> list[dict[str, Any]]:
    """The rows of this workspace, the oldest first. Queued experiments write to the same log."""
    lines = COSTS.read_text(encoding="utf-8").splitlines() if COSTS.exists() else []
    rows = []
    for line in lines:
        with suppress(ValueError):  # a kill truncated the line
            rows.append(json.loads(line))
    return [row for row in rows if row.get("workspace") == str(Path.cwd())]


def last() -> tuple[list[str], list[list[str]]]:
    """A header and rows: the cost of the last run of each stage."""
    costs = {row["stage"]: row for row in in_workspace()}
    if not costs:
        raise InputError(f"{COSTS}: no stage has run here yet; `make repro` runs them")
    rows = [[c["stage"], f"{c['seconds']:.0f}", f"{c['peak_gib']:.1f}"] for c in costs.values()]
    return ["stage", "seconds", "peak GiB"], rows


if __name__ == "__main__":
    arguments = parser("tools.costs", __doc__)
    arguments.add_argument("--forget", action="store_true", help="remove finished work")
    chosen = arguments.parse_args()
    with one_line_errors("costs"):
        main(chosen.forget)
