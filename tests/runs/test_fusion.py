import math

import numpy as np
import pytest
import trectools.fusion
from trectools import TrecRun

from dpr.base.errors import InputError
from dpr.records.run import ranking
from dpr.runs import trec
from dpr.runs.fusion import DENSE_AND_BM25, UNKNOWN, Fusion, best_weight


@pytest.fixture
def runs(tmp_path):
    """first: a 3, b 2, c 1; second: c 10, d 5, a 0; one topic more in the second."""
    values = [
        {"1": {"a": 3.0, "b": 2.0, "c": 1.0}},
        {"1": {"c": 10.0, "d": 5.0, "a": 0.0}, "2": {"x": 7.0}},
    ]
    opened = []
    for number, run in enumerate(values):
        trec.write_run(tmp_path / f"{number}.txt", run, tag="t")
        opened.append(trec.read_run(tmp_path / f"{number}.txt"))
    return opened


def test_reciprocal_rank_by_hand(runs):
    fused = Fusion.of(*runs).reciprocal_rank(k=60, depth=1000)
    assert fused["1"] == pytest.approx(
        {"a": 1 / 61 + 1 / 63, "b": 1 / 62, "c": 1 / 63 + 1 / 61, "d": 1 / 62}
    )
    assert fused["2"] == pytest.approx({"x": 1 / 61})


# first scaled: a 1, b 2/3, c 1/3, and d at 0, a step below c
@pytest.mark.parametrize(
    ("minima", "expected"),
    [
        (DENSE_AND_BM25, {"a": 0.75, "b": 0.5, "c": 0.5, "d": 0.125}),  # second: c 1, d .5, a 0
        # second: c 1, d 2/3, a 1/3, and b at 0, a step of 5 below a
        (UNKNOWN, {"a": 5 / 6, "b": 0.5, "c": 0.5, "d": 1 / 6}),
    ],
)
def test_weighted_by_hand(runs, minima, expected):
    fused = Fusion.of(*runs, minima=minima).weighted(weight=0.75, depth=1000)
    assert fused["1"] == pytest.approx(expected)
    assert fused["2"] == {"x": 0.25}


@pytest.mark.parametrize("minima", [UNKNOWN, DENSE_AND_BM25])
def test_the_only_hit_of_a_run_is_its_best(minima):
    """It counts as the best of ten would, whatever its score."""
    dense = {"q": {"d1": 0.9, "d2": 0.8, "d3": 0.1}}
    fused = Fusion.of(dense, {"q": {"d3": 25.0}}, minima=minima).weighted(0.5, 10)["q"]
    # d1 1, d2 .9167, d3 .3333, a mean step of .4 above what is not found
    assert fused == pytest.approx({"d3": 4 / 6, "d1": 0.5, "d2": 11 / 24})
    more = Fusion.of(dense, {"q": {"d3": 25.0, "d9": 0.01}}, minima=minima).weighted(0.5, 10)["q"]
    assert next(iter(more)) == next(iter(fused)) == "d3"


@pytest.mark.parametrize("scores", [[3.0, 2.0, -7.0], [-4.0, -4.0], [-4.0], [0.0], [-1e30, -2e30]])
def test_what_is_found_last_is_above_what_is_not_found(scores):
    """For inner products and negated distances too, which have no least score."""
    run = {"q": {f"d{number}": score for number, score in enumerate(scores)}}
    fused = Fusion.of(run, {"q": {"other": 1.0}}).weighted(1.0, 10)["q"]
    assert fused["other"] == 0
    assert min(fused[passage_id] for passage_id in run["q"]) > 0
    assert fused["d0"] == 1


def test_a_score_below_the_minimum_is_refused():
    with pytest.raises(InputError, match=r"the score -0\.5, below its minimum 0"):
        Fusion.of({"q": {"a": 0.5}}, {"q": {"a": -0.5}}, minima=DENSE_AND_BM25).weighted(0.5, 10)


def test_depth(runs):
    """Truncated as trec_eval orders it: equal 32-bit floats by id, descending."""
    tied = {"1": {"a": 1.0, "c": 0.5, "b": 0.5 + 1e-12, "d": 0.0}}
    assert list(Fusion.of(tied, {"1": {"a": 1.0}}).weighted(1.0, depth=2)["1"]) == ["a", "c"]
    assert list(Fusion.of(*runs).weighted(weight=0.75, depth=2)["1"]) == ["a", "c"]  # b is tied
    assert len(Fusion.of(*runs).reciprocal_rank(k=60, depth=3)["1"]) == 3


def test_the_weight_is_chosen_by_ndcg(runs):
    qrels = {"1": {"b": 1}, "2": {"x": 1}}
    tried = Fusion.of(*runs).choose_weight([0.0, 0.5, 1.0], qrels)
    # 0: c, d, a, and b at 0; .5: c and a, then d before b, tied at 1/3; 1: a, b
    ranks = {0.0: 4, 0.5: 4, 1.0: 2}
    assert tried == pytest.approx({w: (1 / math.log2(1 + r) + 1) / 2 for w, r in ranks.items()})


def by_definition(found):
    """The scores of a topic with the best at 1, and 0 one mean step below the last."""
    highest, last = max(found.values()), min(found.values())
    lowest = last - (highest - last) / (len(found) - 1)
    return {p: (score - lowest) / (highest - lowest) for p, score in found.items()}


def test_fusion_is_that_of_trectools(tmp_path):
    """On untied scores; trectools sums whatever the run files hold."""
    rng = np.random.default_rng(0)
    draw = lambda: {f"d{i}": float(rng.normal()) for i in rng.permutation(60)[:40]}  # noqa: E731
    values = [{query_id: draw() for query_id in ("x1", "x2", "x3")} for _ in range(2)]
    opened = []
    rescaled = [{q: by_definition(found) for q, found in run.items()} for run in values]
    for number, run in enumerate([*values, *rescaled]):
        trec.write_run(tmp_path / f"{number}.txt", run, tag="t")
        opened.append(TrecRun(str(tmp_path / f"{number}.txt")))
    rrf = trectools.fusion.reciprocal_rank_fusion(opened[:2], k=60, max_docs=30)
    summed = trectools.fusion.combos(opened[2:], strategy="sum", max_docs=30)
    for fused, expected in (
        (Fusion.of(*values).reciprocal_rank(k=60, depth=30), rrf),
        (Fusion.of(*values).weighted(weight=0.5, depth=30), summed),
    ):
        for query_id, rows in expected.run_data.groupby("query"):
            scores = np.sort(list(fused[query_id].values()))[::-1]
            factor = 0.5 if expected is summed else 1
            assert scores == pytest.approx(factor * np.sort(rows["score"])[::-1], abs=1e-6)
            best = rows.sort_values("score", ascending=False)["docid"].iloc[0]
            assert ranking(fused[query_id])[0][0] == best


def test_of_equally_good_weights_the_nearest_to_the_default_is_taken():
    """With few validation topics, many weights are equally good: BM25 alone would be the first."""
    assert best_weight({0.0: 1.0, 0.4: 1.0, 0.7: 1.0, 0.9: 0.9}, 0.5) == 0.4
    assert best_weight({0.0: 0.1, 0.4: 0.1, 1.0: 0.2}, 0.5) == 1.0
    assert best_weight({}, 0.5) == 0.5
