"""Which system is best, and whether each has a description."""

import pytest

from dpr.base.files import write_json
from dpr.records.types import SYSTEMS
from tools import systems

pytestmark = pytest.mark.usefixtures("here")


def compared(**means):
    found = {name: {"nDCG@10": {"mean": mean}, "AP": {"mean": 0.9}} for name, mean in means.items()}
    write_json("metrics/compare.json", {"systems": found})


def test_each_system_has_a_description():
    assert list(systems.DESCRIPTIONS) == list(SYSTEMS)


@pytest.mark.parametrize(
    ("means", "best"),
    [
        ({"hybrid": 0.4, "bm25": 0.5, "dense": 0.3}, "bm25"),
        ({"dense": 0.5, "zero_shot": 0.5}, "zero_shot"),
        ({"splade": 0.9, "rrf": 0.2}, "rrf"),
        ({"splade": 0.9}, None),
    ],
)
def test_the_best_system(means, best):
    compared(**means)
    assert systems.best() == best


def test_before_compare_no_system_is_best():
    assert systems.best() is None
