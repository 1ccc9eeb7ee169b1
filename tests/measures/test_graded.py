"""The measures over all topics at once, against ir_measures (trec_eval's code)."""

import ir_measures
import numpy as np
import pytest

from dpr.evaluation.curves import precision_by_recall
from dpr.measures import by_topic
from dpr.measures.graded import MEASURES
from dpr.records.run import Run, ranking

NAMES = ["nDCG", "nDCG@3", "nDCG@10", "nDCG@100", "AP", "AP@5", "RR", "RR@3", "P@1", "P@10"]
NAMES += ["R@5", "R@1000", "Success@1", "Success@10", "Judged@5", "Judged"]


def drawn(seed):
    """Judgments and a run with ties, negative grades, short topics, and topics of one side only."""
    rng = np.random.default_rng(seed)
    passages = [f"d{number}" for number in range(60)]
    qrels, run = {}, {}
    for topic in range(25):
        judged = rng.choice(passages, rng.integers(1, 40), replace=False).tolist()
        qrels[f"q{topic}"] = dict(
            zip(judged, rng.integers(-1, 4, len(judged)).tolist(), strict=True)
        )
        found = rng.choice(passages, rng.integers(1, 50), replace=False).tolist()
        scores = rng.integers(0, 12, len(found)).astype(float)
        run[f"q{topic}"] = dict(zip(found, scores.tolist(), strict=True))
    del run["q3"], qrels["q5"]
    run["other"] = {"d1": 1.0}
    qrels["none"] = {"d1": 0, "d2": -1}
    run["none"] = {"d1": 2.0, "d9": 1.0}
    return qrels, run


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", NAMES)
def test_a_measure_is_that_of_ir_measures_to_the_last_bits(name, seed):
    qrels, run = drawn(seed)
    assert ir_measures.parse_measure(name).NAME in MEASURES  # and not computed by ir_measures
    untied = {q: {p: -i for i, (p, _) in enumerate(ranking(s))} for q, s in run.items()}
    measure = ir_measures.parse_measure(name)
    expected = {m.query_id: m.value for m in ir_measures.iter_calc([measure], qrels, untied)}
    found = by_topic(qrels, run, [name])[name]
    assert list(found) == list(qrels)
    assert found == pytest.approx({q: expected.get(q, 0.0) for q in qrels}, rel=1e-14, abs=0)


def test_a_deep_measure_beside_a_shallow_one_sees_the_whole_run():
    qrels, run = drawn(7)
    both = by_topic(qrels, run, ["P@1", "AP", "R@1000"])
    assert all(both[name] == by_topic(qrels, run, [name])[name] for name in both)


def test_topics_in_blocks_have_the_same_values(monkeypatch):
    qrels, run = drawn(9)
    names = ["nDCG@10", "AP", "Judged"]
    expected, curve = by_topic(qrels, run, names), precision_by_recall(qrels, run)
    monkeypatch.setattr("dpr.measures.graded.TOPICS_AT_ONCE", 4)
    assert by_topic(qrels, run, names) == expected
    assert precision_by_recall(qrels, run) == pytest.approx(curve, rel=1e-14, abs=0)


def test_other_measures_are_computed_by_ir_measures_topics_at_a_time(monkeypatch):
    qrels, run = drawn(8)
    expected = by_topic(qrels, run, ["Rprec", "nDCG@10", "AP(rel=2)"])
    monkeypatch.setattr("dpr.measures.TOPICS_AT_ONCE", 4)
    assert by_topic(qrels, run, ["Rprec", "nDCG@10", "AP(rel=2)"]) == expected
    assert 0 < sum(expected["Rprec"].values()) != sum(expected["AP(rel=2)"].values()) > 0


def test_a_run_without_rows_scores_nothing():
    assert by_topic({"q": {"d": 1}}, Run.of({}), ["nDCG@10", "AP", "RR", "Judged@3"]) == {
        name: {"q": 0.0} for name in ("nDCG@10", "AP", "RR", "Judged@3")
    }
