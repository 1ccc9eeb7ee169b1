"""Compare the figures here with expected.yaml: OK or FAIL in each row, exit code 1 on FAIL.

Reads metrics/compare.json for the rows of medline, unless DVC says that it is stale. With a
collection and the name of its rows, it first runs the experiment on this collection. The rows may
set parameters for the experiment.

    python -m tools.verify
    python -m tools.verify beir:/PATH/cacm cacm
    python -m tools.verify beir:/PATH/scifact scifact       # a published figure
    python -m tools.verify beir:/PATH/scifact scifact/bge-base-en-v1.5
"""

import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.evaluation.markdown_tables import table
from stages.run import one_line_errors, parser
from tools import sides, suite

EXPECTED, DEFAULT = Path("expected.yaml"), "medline"


def expected() -> dict[str, Any]:
    """{name: rows} of expected.yaml."""
    named: dict[str, Any] = YAML(typ="safe", pure=True).load(EXPECTED)
    return named


def main(collection: str | None, name: str | None) -> bool:
    """Print a row for each figure; return whether all are as expected."""
    named = expected()
    if collection is None:
        name = DEFAULT
        sides.require("compare")
    if name not in named:
        raise InputError(
            f"give a collection and the name of its rows in {EXPECTED}, not {name!r}: "
            + ", ".join(named)
        )
    rows = named[name]
    changes = rows.get("set", {})
    compared = suite.results(collection, changes) if collection else read_json(suite.COMPARED)
    checked = check(rows["systems"], compared["systems"])
    print(table(["system", "measure", "expected", "found", "within", ""], checked))
    print(f"expected: {rows['source']}")
    return all(row[-1] == "OK" for row in checked)


def check(expected: dict[str, Any], found: dict[str, Any]) -> list[list[str]]:
    """A row for each expected figure, with OK or FAIL at its end."""
    rows = []
    for system, figures in expected.items():
        within = figures["within"]
        for measure, value in figures.items():
            if measure in ("within", "here"):
                continue
            mean = found.get(system, {}).get(measure, {}).get("mean")
            # Expected figures are rounded: allow half a unit in the last digit.
            sound = "OK" if mean is not None and abs(mean - value) <= within + 0.5e-4 else "FAIL"
            shown = "missing" if mean is None else f"{mean:.4f}"
            rows.append([system, measure, f"{value:.4f}", shown, f"{within}", sound])
    return rows


if __name__ == "__main__":
    arguments = parser("tools.verify", __doc__)
    arguments.add_argument("collection", nargs="?", help="a value of data.collection")
    arguments.add_argument("name", nargs="?", help="the name of its rows in expected.yaml")
    chosen = arguments.parse_args()
    with one_line_errors("verify"):
        sys.exit(0 if main(chosen.collection, chosen.name) else 1)
