"""All experiments of this commit, best validation nDCG@10 first. No stage: it makes nothing.

    dvc exp run --queue -S 'train.batch_size=32,64' -S 'train.lr=2e-5,5e-5'
    dvc queue start
    python -m stages.grid

Choose by validation. An experiment that was run only as far as a target before `eval` shows the
test figure of the commit that it began from, since that file is still there.
"""

import math
from typing import Any

import dvc.api

from dpr import report
from dpr.settings import load_settings
from stages import run

VALID, TEST = "best.nDCG@10", "dense.nDCG@10"  # of metrics/train.json and metrics/eval.json


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
    """A metric of an experiment, NaN where it has none; DVC puts a file before a name of two.

    One that failed, waits or runs shows the files of the commit it began from: not its own.
    """
    if row.get("State") not in (None, "Success"):
        return math.nan
    values = (row[key] for key in row if key == name or key.endswith(f":{name}"))
    return next((value for value in values if isinstance(value, float)), math.nan)


if __name__ == "__main__":
    run(main, record=False)
