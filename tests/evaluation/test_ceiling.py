"""What a perfect re-ranker of a run's first passages would reach."""

import math

import pytest

from dpr import measures
from dpr.evaluation import comparison

QRELS = {"q": {"a": 2, "b": 1, "n": 0}, "lost": {"z": 1}}
RUN = {"q": {"x": 9.0, "n": 8.0, "b": 7.0, "a": 6.0}, "unjudged": {"a": 1.0}}
IDEAL = 2 + 1 / math.log2(3)


@pytest.mark.parametrize(
    ("depth", "gain"),
    [
        (2, 0.0),  # x and n
        (3, 1.0),  # b goes first
        (4, IDEAL),  # a, then b
        (1000, IDEAL),
    ],
)
def test_the_first_passages_are_put_in_order_of_their_grades(depth, gain):
    # by hand: the mean of two topics, of which one has no run
    assert comparison.of_reranking(QRELS, RUN, depth) == pytest.approx(gain / IDEAL / 2)


def test_a_run_in_perfect_order_has_its_own_measure_as_ceiling():
    run = {"q": {"a": 3.0, "b": 2.0, "n": 1.0}, "lost": {"z": 1.0}}
    assert comparison.of_reranking(QRELS, run, 1000) == measures.headline(QRELS, run) == 1.0
