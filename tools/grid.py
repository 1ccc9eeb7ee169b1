"""Print all experiments on this commit: the best validation nDCG@10 first, with what they varied.

Reads what `dvc exp show` does.

    dvc exp run --queue -S 'train.batch_size=32,64' -S 'train.lr=2e-5,5e-5'
    dvc queue start
    python -m tools.grid

Choose by validation. An experiment that was run only up to a stage before `eval` shows the test
figure of the commit that it began from, since that file is still there.
"""

import math
from typing import Any

import dvc.api

from dpr.evaluation import report
from dpr.measures import HEADLINE
from dpr.settings import load_settings
from stages import rounds
from stages.run import parser, told_in_one_line

VALID, TEST = f"best.{HEADLINE}", f"dense.{HEADLINE}"  # in metrics/train*.json and eval.json
SECOND = f"metrics/train{rounds.SUFFIX['second']}.json"


def main() -> None:
    keys = parameters(load_settings("params.yaml").model_dump())
    rows = {row["Experiment"] or row["rev"]: row for row in dvc.api.exp_show()}
    rows.pop("workspace", None)
    experiments = {
        name: report.Experiment(
            {key: row[key] for key in keys if key in row}, figure(row, VALID), figure(row, TEST)
        )
        for name, row in rows.items()
    }
    print(report.experiments_table(experiments))


def parameters(settings: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of all parameters."""
    names: list[str] = []
    for key, value in settings.items():
        path = f"{prefix}{key}"
        names += parameters(value, f"{path}.") if isinstance(value, dict) else [path]
    return names


def figure(row: dict[str, Any], name: str) -> float:
    """A metric of an experiment, after the second round if it ran one; NaN if it has none.

    DVC puts the file before a name that two files have. An experiment that failed, waits or runs
    shows the files of the commit that it began from, which are not its own.
    """
    if row.get("State") not in (None, "Success"):
        return math.nan
    keys = (key for key in row if key == name or key.endswith(f":{name}"))
    values = (row[key] for key in sorted(keys, key=lambda key: SECOND not in key))
    return next((value for value in values if isinstance(value, float)), math.nan)


if __name__ == "__main__":
    parser("tools.grid", __doc__).parse_args()
    with told_in_one_line("grid"):
        main()
