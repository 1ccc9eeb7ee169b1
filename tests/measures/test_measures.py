import math

import pytest
import pytrec_eval

from dpr.measures import by_topic, check, cutoff, means, parse_measure

QRELS = {"1": {"a": 2, "b": 1, "c": 0}, "2": {"a": 1}, "3": {"z": 1}}
RUN = {
    "1": {"c": 3.0, "b": 2.0, "a": 1.0},
    "2": {"x": 2.0, "y": 1.5, "a": 1.0},
    "unjudged": {"a": 1.0},
}


def test_by_hand():
    values = by_topic(QRELS, RUN, ["nDCG@10", "AP", "RR@10", "recall@100", "P@10"])
    dcg = 1 / math.log2(3) + 2 / math.log2(4)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert values["nDCG@10"] == pytest.approx({"1": dcg / ideal, "2": 0.5, "3": 0})
    assert values["AP"] == pytest.approx({"1": (1 / 2 + 2 / 3) / 2, "2": 1 / 3, "3": 0})
    assert values["RR@10"] == pytest.approx({"1": 1 / 2, "2": 1 / 3, "3": 0})
    assert values["recall@100"] == {"1": 1, "2": 1, "3": 0}
    assert values["P@10"] == pytest.approx({"1": 0.2, "2": 0.1, "3": 0})


def test_the_mean_is_over_every_judged_topic_and_no_other():
    assert means(by_topic(QRELS, RUN, ["RR@10"]))["RR@10"] == pytest.approx((1 / 2 + 1 / 3) / 3)


@pytest.mark.parametrize(
    ("measure", "theirs"),
    [
        *[("RR", "recip_rank"), ("AP", "map"), ("P@10", "P_10"), ("nDCG@10", "ndcg_cut_10")],
        *[("recall@100", "recall_100"), ("RR@10", None), ("judged@10", None)],
    ],
)
def test_every_measure_is_over_the_order_of_trec_eval(measure, theirs):
    """Ties go by id, descending; scores that differ beyond 32 bits are ties."""
    scores = {f"d{i:02}": 1.0 - i * 1e-12 for i in range(30)} | {"late": 0.5}
    order = sorted(scores, key=lambda p: (scores[p] > 0.9, p), reverse=True)
    for relevant in ("d29", "d21", "d20", "d19", "d00"):
        qrels = {"q": {relevant: 1}}
        found = by_topic(qrels, {"q": scores}, [measure])[measure]["q"]
        rank = order.index(relevant) + 1
        if theirs:
            reference = pytrec_eval.RelevanceEvaluator(qrels, {theirs}).evaluate({"q": scores})
            assert found == pytest.approx(reference["q"][theirs])
        elif measure == "RR@10":
            assert found == pytest.approx(1 / rank if rank <= 10 else 0)
        else:
            assert found == pytest.approx(0.1 if rank <= 10 else 0)


def test_cutoffs():
    run = {"2": {f"x{i:02}": 20.0 - i for i in range(10)} | {"a": 1.0}}
    values = by_topic({"2": {"a": 1}}, run, ["RR@10", "RR", "recall@10", "recall@11"])
    assert values["RR@10"]["2"] == 0
    assert values["RR"]["2"] == pytest.approx(1 / 11)
    assert (values["recall@10"]["2"], values["recall@11"]["2"]) == (0, 1)


def test_the_depth_of_a_measure():
    depths = {name: cutoff(name) for name in ("nDCG@10", "recall@1000", "judged@5", "AP", "RR")}
    assert depths == {"nDCG@10": 10, "recall@1000": 1000, "judged@5": 5, "AP": None, "RR": None}


def test_names():
    assert str(parse_measure("recall@100")) == "R@100"
    assert str(parse_measure("nDCG@10")) == "nDCG@10"
    assert str(parse_measure("judged@10")) == "Judged@10"
    with pytest.raises(ValueError, match=r"plots/precision\.csv"):
        parse_measure("IPrec@0.1")
    with pytest.raises(ValueError, match="no measure"):
        parse_measure("accuracy@one")


def test_judgments_of_minus_one_and_zero():
    """trec_eval's own code on both: neither is relevant, and judged@10 counts both as judged."""
    qrels = {"1": {"a": -1, "b": 0, "c": 1}}
    run = {"1": {"a": 4.0, "b": 3.0, "c": 2.0, "unjudged": 1.0}}
    values = by_topic(qrels, run, ["RR@10", "nDCG@10", "P@10", "judged@10"])
    assert values["RR@10"]["1"] == pytest.approx(1 / 3)
    assert values["nDCG@10"]["1"] == pytest.approx(1 / math.log2(4))
    assert values["P@10"]["1"] == pytest.approx(0.1)
    assert values["judged@10"]["1"] == pytest.approx(3 / 4)  # of the four retrieved


def test_a_topic_without_relevant_documents_counts_as_zero():
    values = by_topic({"1": {"a": 0}, "2": {"b": 1}}, {"1": {"a": 1.0}, "2": {"b": 1.0}}, ["AP"])
    assert values["AP"] == {"1": 0, "2": 1}
    assert means(values)["AP"] == 0.5


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


@pytest.mark.parametrize("name", ["recall@0", "P@0", "ERR@0", "judged@0", "RR@0"])
def test_a_measure_of_no_passage_is_refused(name):
    with pytest.raises(ValueError, match="its depth must be 1 or more"):
        check(["nDCG@10", name])
