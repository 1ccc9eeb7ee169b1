"""One encoder over several collections: each system's figures by collection, and their means.

Reads params.yaml, runs its experiment on each collection (trained once, as data.train says) and
prints tables; .scratch/suite.csv has the same. Collections are values of data.collection, each with
parameters of its own after commas. One that fails is named at the end, the others go on. A second
call runs nothing again.

    python -m tools.suite medline medline-2021 beir:/PATH/cacm
    python -m tools.suite "beir:/PATH/arguana,data.drop_query_id=true" -S train.max_steps=0
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.base.files import write_csv
from dpr.evaluation import report
from dpr.measures import HEADLINE
from stages.run import SCRATCH, one_line_errors, parser
from tools import experiments

MEASURES = (HEADLINE, "recall@100")


def main(arguments: argparse.Namespace) -> None:
    jobs = [(argument, *job(argument, arguments.set)) for argument in arguments.collections]
    for argument, _, changes in jobs:
        if missing := {*MEASURES} - {*experiments.changed(changes).eval.measures}:
            raise InputError(f"{argument}: eval.measures: the tables need {', '.join(missing)}")
    found: dict[str, dict[str, Any]] = {}
    failed = []
    for argument, collection, changes in jobs:
        try:
            compared = experiments.results(collection, changes)
            name = Path(collection).name  # of a folder, if no other collection has it
            found[argument if name in found else name] = compared
        except InputError as error:
            print(error, file=sys.stderr)
            failed.append(argument)
    if found:
        for measure in MEASURES:
            print(report.collections_table(found, measure), end="\n\n")
        print(report.collections_tests_table(found, HEADLINE))
        rows = report.collections_rows(found, MEASURES)
        write_csv(SCRATCH / "suite.csv", ["collection", "system", "measure", "mean"], rows)
    if failed:
        raise InputError(f"failed: {', '.join(failed)}; the same command tries them again")


def job(argument: str, changes: list[str]) -> tuple[str, dict[str, str]]:
    """The collection of an argument, and the parameters to change for it."""
    collection, *own = re.split(r",(?=[\w.]+=)", argument)
    for change in (all_changes := [*changes, *own]):
        if "=" not in change:
            raise InputError(f"{change!r} is not KEY=VALUE")
    return collection, dict(change.split("=", 1) for change in all_changes)


def parse() -> argparse.Namespace:
    arguments = parser("tools.suite", __doc__)
    arguments.add_argument("collections", nargs="+", help="NAME or NAME,KEY=VALUE,...")
    arguments.add_argument(
        "-S", dest="set", action="append", default=[], help="KEY=VALUE for all of them"
    )
    return arguments.parse_args()


if __name__ == "__main__":
    chosen = parse()
    with one_line_errors("suite"):
        main(chosen)
