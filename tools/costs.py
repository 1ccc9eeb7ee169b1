"""Print time and peak memory of each stage's last run on this machine.

Reads .scratch/costs.jsonl, which the stages write.

    python -m tools.costs
"""

import json

from dpr.base.errors import InputError
from dpr.evaluation.report import table
from stages.run import COSTS, parser, told_in_one_line


def main() -> None:
    print(table(*last()))


def last() -> tuple[list[str], list[list[str]]]:
    """Header and rows: what the last run of each stage cost."""
    if not COSTS.exists():
        raise InputError(f"{COSTS}: no stage has run here yet; `make repro` runs them")
    costs = map(json.loads, COSTS.read_text(encoding="utf-8").splitlines())
    of = {cost["stage"]: cost for cost in costs}
    rows = [[c["stage"], f"{c['seconds']:.0f}", f"{c['peak_gib']:.1f}"] for c in of.values()]
    return ["stage", "seconds", "peak GiB"], rows


if __name__ == "__main__":
    parser("tools.costs", __doc__).parse_args()
    with told_in_one_line("costs"):
        main()
