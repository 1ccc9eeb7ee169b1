"""The figures that the table of experiments shows."""

import math

import pytest

from tools import grid


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
