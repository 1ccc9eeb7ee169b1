"""The figures that the table of experiments shows."""

import math

import pytest

from dpr.base.errors import InputError
from dpr.evaluation.markdown_tables import experiments_table
from dpr.records.run import Run
from tools import grid
from tools.sides import Side


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"best.nDCG@10": 0.65, "State": None}, 0.65),
        ({"metrics/train.json:best.nDCG@10": 0.65, "State": "Success"}, 0.65),
        (
            {"metrics/train.json:best.nDCG@10": 0.8, "metrics/train_second.json:best.nDCG@10": 0.4},
            0.4,
        ),
        (
            {"metrics/train.json:best.nDCG@10": 0.8, "metrics/train_second.json:best.nDCG@10": ""},
            0.8,  # it ran the first round alone
        ),
        ({"best.nDCG@10": 0.65, "State": "Failed"}, None),  # the figures of where it began
        ({"best.nDCG@10": 0.65, "State": "Running"}, None),
        ({"best.nDCG@10": "!", "State": None}, None),  # DVC's mark for a file that is not there
        ({"best.nDCG@10": None}, None),
        ({"dense.nDCG@10": 0.43}, None),
    ],
)
def test_the_figure_of_an_experiment_is_its_own_or_none(row, expected):
    found = grid.figure(row, grid.VALID)
    assert found == expected or (expected is None and math.isnan(found))


FIRST, SECOND = "metrics/train.json:best.nDCG@10", "metrics/train_second.json:best.nDCG@10"
ROWS = {  # as dvc.api.exp_show has them: null is "None", a key that a row lacks is None
    "first alone": {FIRST: 0.80, "train.valid_passages": 500.0},
    "both": {FIRST: 0.81, SECOND: 0.49, "train.valid_passages": 500.0}
    | {"second.train.valid_passages": "None"},
    "both, better": {FIRST: 0.7, SECOND: 0.5, "train.valid_passages": 500.0}
    | {"second.train.valid_passages": "None"},
    "pool in both": {FIRST: 0.82, SECOND: 0.83, "train.valid_passages": 500.0}
    | {"second.train.valid_passages": None, "second.train.lr": 2e-5},
    "larger pool": {FIRST: 0.6, "train.valid_passages": 1000.0, "second.mine.encoder.use": "True"},
    "first over all": {FIRST: 0.48, "train.valid_passages": "None"},
    "none": {"train.valid_passages": 500.0},
}


def test_each_experiment_is_tested_against_this_commit(tmp_path, monkeypatch):
    """Also if this commit trained nothing, and so has no validation."""
    qrels = {f"q{n}": {"d": 1} for n in range(8)}
    first, second = (Run.of({q: {"x": 2.0, "d": s} for q in qrels}) for s in (3.0, 1.0))
    runs = {"main": second, "better": first, "equal": second}
    monkeypatch.setattr(grid, "MANIFEST", tmp_path)
    monkeypatch.setattr(grid.beir, "read_qrels", lambda *_: qrels)
    monkeypatch.setattr(grid.sides, "require_this_collection", lambda *_: None)

    def read(name, split, system):
        if name not in runs:
            raise InputError("no run")
        return Side(name, runs[name], {}, None)

    monkeypatch.setattr(grid.sides, "read", read)
    found = grid.against("main", ["better", "equal", "queued"])
    assert found == {"better": 2 / 2**8, "equal": 1.0}  # one of all swaps, on two sides
    assert grid.against("queued", ["better"]) == {}


def test_only_figures_over_as_many_passages_are_ranked():
    keys = ["train.valid_passages"]
    found = {name: grid.experiment(row, keys) for name, row in ROWS.items()}
    lines = experiments_table(found).splitlines()
    header, _, *cells = ([c.strip() for c in line.strip("| ").split("|")] for line in lines)
    rows = [dict(zip(header, row, strict=True)) for row in cells]
    assert [(row["experiment"], row["over"], row["validation nDCG@10"]) for row in rows] == [
        ("both, better", "all", "0.5000"),
        ("both", "all", "0.4900"),
        ("first over all", "all", "0.4800"),
        ("larger pool", "1000", "0.6000"),
        ("pool in both", "500", "0.8300"),
        ("first alone", "500", "0.8000"),
        ("none", "-", "-"),
    ]
    by_name = {row["experiment"]: row for row in rows}
    assert by_name["pool in both"]["second.train.lr"] == "2e-05"
    assert by_name["both"]["second.train.lr"] == "-"
    assert by_name["larger pool"]["second.mine.encoder.use"] == "True"
    assert by_name["both"]["second.train.valid_passages"] == "null"
