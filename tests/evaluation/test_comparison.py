"""Systems side by side: figures, tests and tables, by hand."""

import math

import numpy as np
import pytest

from dpr import measures
from dpr.base.errors import InputError
from dpr.evaluation import comparison
from dpr.evaluation.markdown_tables import Experiment, experiments_table, topics_table, verdict
from dpr.evaluation.significance import compare
from dpr.records.run import Run

RESULTS = {
    "bm25": {"AP": {"1": 0.1, "2": 0.2, "3": 0.3}},
    "dense": {"AP": {"1": 0.3, "2": 0.3, "3": 0.4}},
    "hybrid": {"AP": {"3": 0.35, "1": 0.1, "2": 0.6}},
}


def test_systems_and_tests_by_hand():
    compared = comparison.compare_systems(RESULTS, seed=0)
    assert compared["topics"] == 3
    assert compared["systems"]["dense"]["AP"]["mean"] == pytest.approx(1 / 3)
    against = compared["against"]
    assert {r: set(against[r]) for r in against} == {
        "bm25": {"dense", "hybrid"},
        "dense": {"hybrid"},
    }
    dense, hybrid = against["bm25"]["dense"]["AP"], against["bm25"]["hybrid"]["AP"]
    assert dense["difference"] == pytest.approx(0.4 / 3)
    assert (dense["wins"], dense["ties"], dense["losses"]) == (3, 0, 0)
    assert dense["p_randomization"] == pytest.approx(2 / 8)  # 2 of 2^3 ways are as extreme
    # topics are paired by id, whatever the order
    assert (hybrid["wins"], hybrid["ties"], hybrid["losses"]) == (2, 1, 0)
    assert hybrid["difference"] == pytest.approx(0.45 / 3)
    # the smallest of three p values, three times; the largest, p = 1, as it is
    assert dense["p_holm"] == pytest.approx(0.75)
    assert against["dense"]["hybrid"]["AP"]["p_holm"] == 1.0


def test_the_interval_of_a_difference_is_over_the_topics_of_both():
    """A constant lead has an interval of one point, although both systems vary."""
    results = {
        "one": {"AP": {str(n): n / 50 for n in range(40)}},
        "two": {"AP": {str(n): n / 50 + 0.125 for n in range(40)}},
    }
    of = comparison.compare_systems(results, seed=0)["against"]["one"]["two"]["AP"]
    assert of["low"] == pytest.approx(0.125) and of["high"] == pytest.approx(0.125)
    assert of["detectable"] is None and of["topics_needed"] is None  # no variance
    varied = {q: value + (0.25 if int(q) % 2 else 0.0) for q, value in results["one"]["AP"].items()}
    of = comparison.compare_systems(results | {"two": {"AP": varied}}, seed=0)["against"]["one"]
    # statsmodels 0.15.0, TTestPower: 40 topics find an effect of .454257; one of .987421 needs
    deviation = 0.125 * math.sqrt(40 / 39)
    assert of["two"]["AP"]["detectable"] == pytest.approx(0.454257 * deviation, abs=1e-6)
    assert of["two"]["AP"]["topics_needed"] == math.ceil(10.13596)
    half = 1.96 * 0.125 / math.sqrt(40)  # of a mean of 40 topics with a deviation of .125
    assert of["two"]["AP"]["low"] == pytest.approx(0.125 - half, abs=0.01)
    assert of["two"]["AP"]["high"] == pytest.approx(0.125 + half, abs=0.01)


def test_foreign_runs_are_systems_by_their_file_names(tmp_path):
    for name in (
        "splade.txt",
        "colbert.v2.trec",
        "README.md",
        ".gitignore",
        "._a.txt",
        "big.run.dvc",
    ):
        (tmp_path / name).touch()
    files = comparison.run_files("runs", tmp_path)
    assert [*files] == ["bm25", "zero_shot", "dense", "rrf", "hybrid", "colbert.v2", "splade"]
    assert files["splade"] == tmp_path / "splade.txt" and str(files["rrf"]) == "runs/rrf.txt"
    assert [*comparison.run_files("runs", tmp_path / "nothing")] == [*files][:5]
    (tmp_path / "a|b.txt").touch()
    with pytest.raises(InputError, match=r"a\|b\.txt: name the run by letters"):
        comparison.run_files("runs", tmp_path)
    (tmp_path / "a|b.txt").unlink()
    (tmp_path / "notes.csv").touch()
    with pytest.raises(InputError, match=r"notes\.csv: a run ends in \.txt"):
        comparison.run_files("runs", tmp_path)


@pytest.mark.parametrize("name", ["splade.run", "dense.txt"])
def test_a_label_used_twice_is_refused(tmp_path, name):
    (tmp_path / "splade.txt").touch()
    (tmp_path / name).touch()
    with pytest.raises(
        InputError, match=r"the label (splade|dense) is taken by .*; rename this file"
    ):
        comparison.run_files("runs", tmp_path)


def test_a_run_of_a_different_collection_has_no_judged_topic():
    qrels = {"1": {"a": 1}, "2": {"b": 0}, "3": {"c": 1}}
    assert comparison.judged_topics(qrels, Run.of({"1": {"a": 1.0}, "2": {"x": 1.0}})) == 2
    assert comparison.judged_topics(qrels, Run.of({"9": {"a": 1.0}})) == 0
    assert comparison.judged_topics(qrels, Run.of({"1": {"x": 1.0}, "2": {"y": 1.0}})) == 0


def test_the_best_system_comes_first():
    means = {"one": (0.15, 0.3), "two": (0.35, 0.1), "three": (0.2, 0.2)}
    systems = {s: {"nDCG@10": {"mean": n}, "AP": {"mean": a}} for s, (n, a) in means.items()}
    assert comparison.best_first({"systems": systems}) == ["two", "three", "one"]
    assert comparison.best_first({"systems": systems}, "AP") == ["one", "three", "two"]


def test_topics_that_moved_most_come_first():
    before, after = {"1": 0.5, "2": 0.5, "3": 0.5}, {"1": 0.6, "2": 0.1, "3": 0.5}
    texts = {"1": "heart", "2": "lung", "3": "eye"}
    lines = topics_table(texts, before, after, top=2).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["lung", "heart"]
    assert "-0.4000" in lines[2]
    values = [np.array(list(side.values())) for side in (after, before)]
    (result,) = compare(values[0][None], values[1], seed=0)
    assert "not significant at 0.05" in verdict("AP", before, after, result)


def test_interpolated_precision_by_hand():
    qrels = {"1": {"a": 1, "b": 1}, "2": {"z": 1}}
    run = {"1": {"a": 3.0, "x": 2.0, "b": 1.0}}
    precision = comparison.precision_by_recall(qrels, run)
    # topic 1: precision 1 up to recall .7 (1.4 of 2 documents: one will do), then 2/3; topic 2: 0
    expected = {level / 10: 1 / 2 if level <= 7 else 1 / 3 for level in range(11)}
    assert precision == pytest.approx(expected)
    late = comparison.precision_by_recall({"1": qrels["1"]}, {"1": {"x": 3.0, "a": 2.0, "b": 1.0}})
    assert late[0.0] == pytest.approx(2 / 3)  # the highest precision, which is at the last rank


def test_experiments_come_best_first_with_the_parameters_that_differ():
    same = {"train.batch_size": 64, "seed": 42}
    table = experiments_table(
        {
            "low": Experiment(same | {"train.lr": 1e-5, "n": 64.0}, 0.5, 0.31),
            "queued": Experiment(same | {"train.lr": 9e-5, "n": None}, float("nan"), float("nan")),
            "high": Experiment(same | {"train.lr": 5e-5, "n": 32}, 0.6, float("nan")),
        }
    )
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    assert cells[0] == ["experiment", "train.lr", "n", "over", "validation nDCG@10", "test nDCG@10"]
    assert cells[2:] == [
        ["high", "5e-05", "32", "all", "0.6000", "-"],
        ["low", "1e-05", "64", "all", "0.5000", "0.3100"],
        ["queued", "9e-05", "null", "-", "-", "-"],
    ]


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
    ceiling = comparison.of_reranking(QRELS, run, 1000)
    assert ceiling == measures.mean_primary_measure(QRELS, run) == 1.0
