"""The measures, against their formulas, ir_measures, and trec_eval's order of ties."""

import math
import sys

import ir_measures
import numpy as np
import pytest

from dpr.measures import by_topic, check, cutoff, means
from dpr.records.run import Run, ranking

QRELS = {"1": {"a": 2, "b": 1, "c": 0}, "2": {"a": 1}, "3": {"z": 1}}
RUN = {
    "1": {"c": 3.0, "b": 2.0, "a": 1.0},
    "2": {"x": 2.0, "y": 1.5, "a": 1.0},
    "unjudged": {"a": 1.0},
}
NAMES = ["nDCG", "nDCG@3", "nDCG@100", "AP", "AP@5", "RR", "RR@3", "P@1", "P@10", "R@5", "R@1000"]
NAMES += ["Success@1", "Success@10", "Judged@5", "Judged", "Rprec", "AP(rel=2)"]


def drawn(seed):
    """Judgments and a run with ties, negative grades, short topics, and topics of one side only."""
    rng = np.random.default_rng(seed)
    passages = [f"d{number}" for number in range(60)]
    qrels, run = {}, {}
    for topic in range(25):
        judged = rng.choice(passages, rng.integers(1, 40), replace=False).tolist()
        grades = rng.integers(-1, 4, len(judged)).tolist()
        qrels[f"q{topic}"] = dict(zip(judged, grades, strict=True)) | {"d0": 0}
        retrieved = rng.choice(passages, rng.integers(1, 50), replace=False).tolist()
        scores = rng.integers(0, 12, len(retrieved)).astype(float).tolist()
        run[f"q{topic}"] = dict(zip(retrieved, scores, strict=True))
    del run["q3"], qrels["q5"]
    return qrels, run | {"other": {"d1": 1.0}}


def test_by_hand():
    values = by_topic(QRELS, RUN, ["nDCG@10", "AP", "RR@10", "recall@100", "P@10"])
    dcg = 1 / math.log2(3) + 2 / math.log2(4)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert values["nDCG@10"] == pytest.approx({"1": dcg / ideal, "2": 0.5, "3": 0})
    assert values["AP"] == pytest.approx({"1": (1 / 2 + 2 / 3) / 2, "2": 1 / 3, "3": 0})
    assert values["RR@10"] == pytest.approx({"1": 1 / 2, "2": 1 / 3, "3": 0})
    assert values["recall@100"] == {"1": 1, "2": 1, "3": 0}
    assert values["P@10"] == pytest.approx({"1": 0.2, "2": 0.1, "3": 0})
    # over every judged topic, and no other
    assert means(values)["RR@10"] == pytest.approx((1 / 2 + 1 / 3) / 3)


@pytest.mark.parametrize("seed", range(3))
def test_names_mean_what_they_mean_in_ir_measures(seed, monkeypatch):
    monkeypatch.setattr("dpr.measures.TOPICS_AT_ONCE", 4)
    qrels, run = drawn(seed)
    untied = {q: {p: -i for i, (p, _) in enumerate(ranking(s))} for q, s in run.items()}
    values = by_topic(qrels, run, NAMES)
    for name in NAMES:
        measure = ir_measures.parse_measure(name)
        expected = {m.query_id: m.value for m in ir_measures.iter_calc([measure], qrels, untied)}
        assert list(values[name]) == list(qrels)
        expected = {q: expected.get(q, 0.0) for q in qrels}
        assert values[name] == pytest.approx(expected, rel=1e-14, abs=0), name
        assert any(values[name].values())


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("AP(rel=2)", ir_measures.AP(rel=2)),
        ("nDCG(dcg='exp-log2')@3", ir_measures.nDCG(dcg="exp-log2", cutoff=3)),
        ("P(judged_only=True)@2", ir_measures.P(judged_only=True, cutoff=2)),
        ("nDCG(gains={0: 0, 1: 5})@3", ir_measures.nDCG(gains={0: 0, 1: 5}, cutoff=3)),
        ("RBP(p=0.5)@3", ir_measures.RBP(p=0.5, cutoff=3)),
    ],
)
def test_parameters_of_each_type_are_read(name, measure):
    """Python 3.14 removed what ir_measures 0.4.3 reads them with; `dpr` gives it back."""
    assert ir_measures.parse_measure(name) == measure
    assert cutoff(name) == measure.params.get("cutoff")


def test_the_common_measures_do_without_ir_measures(monkeypatch):
    """It loads slowly."""
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    names = ["nDCG@10", "AP", "RR@10", "P@10", "recall@100", "Success@1", "judged@10"]
    assert check(names) == names
    with pytest.raises(ImportError):
        by_topic(QRELS, RUN, ["Rprec"])


def test_every_measure_is_over_the_order_of_trec_eval():
    """Ties go by id, descending; scores that differ beyond 32 bits are ties."""
    scores = {f"d{i:02}": 1.0 - i * 1e-12 for i in range(30)} | {"late": 0.5}
    for rank, relevant in [(1, "d29"), (9, "d21"), (10, "d20"), (11, "d19"), (30, "d00")]:
        values = by_topic(
            {"q": {relevant: 1}}, {"q": scores}, ["RR", "RR@10", "P@10", "judged@10", "nDCG@10"]
        )
        inside = rank <= 10
        expected = [1 / rank, inside / rank, inside / 10, inside / 10, inside / math.log2(rank + 1)]
        assert [value["q"] for value in values.values()] == pytest.approx(expected)


def test_cutoffs():
    depths = {name: cutoff(name) for name in ("nDCG@10", "recall@1000", "judged@5", "AP", "ERR@7")}
    assert depths == {"nDCG@10": 10, "recall@1000": 1000, "judged@5": 5, "AP": None, "ERR@7": 7}
    run = {"2": {f"x{i:02}": 20.0 - i for i in range(10)} | {"a": 1.0}}
    values = by_topic({"2": {"a": 1}}, run, ["RR@10", "RR", "recall@10", "recall@11"])
    assert [value["2"] for value in values.values()] == pytest.approx([0, 1 / 11, 0, 1])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nDCG@10", "IPrec@0.1"], r"plots/precision\.csv"),
        (["nDCG@10", "accuracy@one"], "is no measure of ir_measures"),
        (["nDCG@10", "P"], "'P' cannot be computed"),
        (["nDCG@10", "AP", "MAP"], "a measure is listed twice"),
        (["nDCG@10", "recall@5", "R@5"], "a measure is listed twice"),
        (["AP"], "nDCG@10, the primary measure, must be among them"),
        *[(["nDCG@10", f"{name}@0"], "its depth must be 1 or more") for name in ("RR", "ERR")],
    ],
)
def test_names_that_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        check(names)


def test_judgments_of_minus_one_and_zero():
    """Neither is relevant, and judged@10 counts both as judged."""
    qrels = {"1": {"a": -1, "b": 0, "c": 1}}
    run = {"1": {"a": 4.0, "b": 3.0, "c": 2.0, "unjudged": 1.0}}
    values = by_topic(qrels, run, ["RR@10", "nDCG@10", "P@10", "judged@10"])
    expected = [1 / 3, 1 / math.log2(4), 0.1, 3 / 4]  # judged: of the four retrieved
    assert [value["1"] for value in values.values()] == pytest.approx(expected)


def test_topics_without_anything_relevant_or_retrieved_count_as_zero():
    """Negative grades alone make pytrec_eval write beyond its memory, so it must not see them."""
    qrels = {"1": {"a": 0}, "2": {"b": 1}, "3": {"a": 1}} | {f"n{i}": {"a": -3} for i in range(999)}
    run = {q: {"a": 1.0, "b": 2.0} for q in qrels} | {"3": {}}
    values = by_topic(qrels, run, ["AP", "Rprec"])
    assert values["AP"] == values["Rprec"] == {q: float(q == "2") for q in qrels}
    names = ["nDCG@10", "AP", "Judged@3", "Rprec"]
    assert by_topic({"q": {"d": 1}}, Run.of({}), names) == {name: {"q": 0.0} for name in names}


def test_measures_of_gdeval_take_any_topic():
    """By their definitions, with its grades: 2 is the highest. It prints five decimals."""
    qrels = {"a topic": {"x": 2, "y": 1}, "q1": {"x": 1, "y": 0}, "q2": {"x": 1}}
    run = {"a topic": {"y": 2.0, "x": 1.0}, "q1": {"z": 2.0, "x": 1.0}}
    names = ["ERR@10", "nDCG(dcg='exp-log2')@10"]
    assert check(["nDCG@10", *names]) == ["nDCG@10", *names]
    err, ndcg = by_topic(qrels, run, names).values()
    stop = {grade: (2**grade - 1) / 2**4 for grade in (1, 2)}  # its grades go up to 4
    expected = stop[1] + (1 - stop[1]) * stop[2] / 2
    assert err == pytest.approx({"a topic": expected, "q1": stop[1] / 2, "q2": 0}, abs=1e-5)
    dcg, ideal = 1 + 3 / math.log2(3), 3 + 1 / math.log2(3)
    expected = {"a topic": dcg / ideal, "q1": 1 / math.log2(3), "q2": 0}
    assert ndcg == pytest.approx(expected, abs=1e-5)
