"""Print the experiments on this commit with their varied parameters, best validation nDCG@10 first.

Reads the table of `dvc exp show`. `over` is the number of passages that the validation ranked.
Figures over different numbers are not comparable, so each number has its own group of experiments.
`p Holm` tests each experiment against this commit: the runs of `dense` over the validation topics,
ranked over the whole collection, with Holm's correction for the number of experiments.

    dvc exp run --queue -S 'train.batch_size=32,64' -S 'train.lr=2e-5,5e-5'
    dvc queue start
    python -m tools.grid

Choose by validation. An experiment that stopped before `eval` shows the test score of its parent
commit.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dvc.api
import numpy as np
from dvc.utils.flatten import flatten

from dpr import measures
from dpr.base.errors import InputError
from dpr.evaluation import significance
from dpr.evaluation.markdown_tables import Experiment, experiments_table
from dpr.evaluation.significance import holm
from dpr.measures import PRIMARY_MEASURE
from dpr.records import beir
from dpr.settings import load_settings
from stages import rounds
from stages.run import one_line_errors, parser
from tools import sides
from tools.passages import COLLECTION

VALID = f"best.{PRIMARY_MEASURE}"  # in metrics/train*.json
TEST = f"dense.{PRIMARY_MEASURE}"  # in metrics/eval.json
SECOND = f"metrics/train{rounds.SUFFIX['second']}.json"
MANIFEST = Path(sides.MANIFEST)
Row = dict[str, Any]  # of DVC's table


def main() -> None:
    keys = list(flatten(load_settings("params.yaml").model_dump()))
    rows = {row["Experiment"] or row["rev"]: row for row in dvc.api.exp_show()}
    rows.pop("workspace", None)
    experiments = {name: experiment(row, keys) for name, row in rows.items()}
    base = next((name for name, row in rows.items() if not row["Experiment"]), "")
    print(experiments_table(experiments, holm(against(base, [n for n in rows if n != base]))))
    if len(rows) == 1:
        print("no experiment started from this commit; `dvc exp list -A` lists all")


def against(base: str, names: list[str]) -> dict[str, float]:
    """p values of the randomization test on validation topics, of the runs that DVC's cache has."""
    if not MANIFEST.exists() or not (qrels := beir.read_qrels(COLLECTION, "valid")):
        return {}
    values = {}
    for name in [base, *names]:
        with suppress(InputError):  # no run, or of a different collection
            side = sides.read(name, "valid", "dense")
            sides.require_this_collection(side, "valid")
            by_topic = measures.by_topic(qrels, side.run, [PRIMARY_MEASURE])[PRIMARY_MEASURE]
            values[name] = [*by_topic.values()]
    if base not in values or len(values) == 1:
        return {}
    rows = np.array([*values.values()])
    tests = significance.compare(rows[1:], rows[0], load_settings("params.yaml").seed)
    found = [name for name in values if name != base]
    return {name: test.p_randomization for name, test in zip(found, tests, strict=True)}


def experiment(row: Row, keys: list[str]) -> Experiment:
    """The experiment of a row; `keys` are the dotted names of params.yaml."""
    added = [key for key in row if key.startswith(("second.train.", "second.mine."))]
    return Experiment(
        # None: the experiment lacks the key.
        {key: row[key] for key in dict.fromkeys([*keys, *added]) if row.get(key) is not None},
        figure(row, VALID),
        figure(row, TEST),
        over(row),
    )


def figure(row: Row, name: str) -> float:
    """A metric after the last round that ran; NaN without the metric."""
    return next(_figures(row, name), ("", math.nan))[1]


def over(row: Row) -> int | None:
    """The number of passages that the validation of this round ranks; None: all."""
    file = next(_figures(row, VALID), ("", math.nan))[0]
    size = row.get("train.valid_passages")
    if SECOND in file and row.get("second.train.valid_passages") is not None:
        size = row["second.train.valid_passages"]
    return int(size) if isinstance(size, float) and not math.isnan(size) else None


def _figures(row: Row, name: str) -> Iterator[tuple[str, float]]:
    """The full names and values of a metric, the second round first.

    If two files have the metric, DVC adds the file name in front. A failed experiment yields
    nothing, because DVC shows the figures of its parent commit.
    """
    if row.get("State") not in (None, "Success"):
        return
    keys = (key for key in row if key == name or key.endswith(f":{name}"))
    for key in sorted(keys, key=lambda key: SECOND not in key):
        if isinstance(row[key], float):
            yield key, row[key]


if __name__ == "__main__":
    parser("tools.grid", __doc__).parse_args()
    with one_line_errors("grid"):
        main()
