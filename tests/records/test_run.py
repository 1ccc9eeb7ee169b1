"""A run in columns is the run of the mapping, in trec_eval's order, to the depth that is set."""

import numpy as np
import pyarrow
import pytest
import pytrec_eval

from dpr.records.run import Run, depth_in_words, ranking, search_depth, without_own_passages
from dpr.records.types import Query


def drawn(seed=0, topics=30):
    rng = np.random.default_rng(seed)
    passages = [f"d{number}" for number in range(90)] + ["é", "Z", "~"]
    run = {}
    for topic in rng.permutation(topics):
        found = rng.choice(passages, rng.integers(0, 50), replace=False).tolist()
        # few different scores, some negative, 0 beside -0, some that differ only as 64-bit floats
        scores = (
            rng.integers(-4, 5, len(found)) * 0.3 * (1 + rng.integers(2, size=len(found)) * 1e-12)
        )
        run[f"q{topic}"] = dict(zip(found, scores.tolist(), strict=True))
    return run


@pytest.mark.parametrize("seed", range(5))
def test_the_rows_of_each_topic_are_ranked_as_by_trec_eval(seed):
    run = drawn(seed)
    columns = Run.of(run)
    assert list(columns) == list(run)
    for query_id, scores in run.items():
        assert list(columns[query_id].items()) == ranking(scores)


def test_columns():
    run = Run.of({"a": {"x": 1.0, "y": 2.0}, "none": {}, "b": {"x": 3.0}})
    assert run.query_ids == ["a", "none", "b"] and run.bounds.tolist() == [0, 2, 2, 3]
    assert [run.ids[i].as_py() for i in run.passages] == ["y", "x", "x"]
    assert run.topics.tolist() == [0, 0, 2] and run.ranks.tolist() == [1, 2, 1]
    y, x = run.passages[:2].tolist()
    assert run.positions(["y", "w", "z", "x"]).tolist() == [y, -1, -1, x]
    assert Run.of({}).positions(["y"]).tolist() == [-1]
    assert run.first(1) == {"a": {"y": 2.0}, "none": {}, "b": {"x": 3.0}}
    assert run.keep(run.scores > 1.5) == {"a": {"y": 2.0}, "none": {}, "b": {"x": 3.0}}


def test_ids_in_any_order():
    ids = pyarrow.array(["c", "a", "b"])
    rows = dict(topics=np.array([1, 0, 1]), ids=ids, passages=np.array([0, 2, 1]))
    run = Run.of_rows(["p", "q"], scores=np.array([1.0, 5.0, 1.0]), **rows)
    assert list(run["q"]) == ["c", "a"] and run["p"] == {"b": 5.0}


def test_infinite_scores_have_their_place():
    run = Run.of({"q": {"a": 0.0, "b": np.inf, "c": -np.inf, "d": -1.0}})
    assert list(run["q"]) == ["b", "a", "d", "c"]


def test_ties_are_in_the_order_of_trec_eval():
    """Also scores that differ only beyond 32-bit floats are tied."""
    scores = {"a": 1.0, "c": 1.0, "b": 1.0 + 1e-12, "d": 0.5}
    order = [passage_id for passage_id, _ in ranking(scores)]
    assert order == ["c", "b", "a", "d"]
    for rank, passage_id in enumerate(order, start=1):
        # trec_eval tells a document's rank as the reciprocal rank of it alone being relevant
        evaluator = pytrec_eval.RelevanceEvaluator({"q": {passage_id: 1}}, {"recip_rank"})
        assert evaluator.evaluate({"q": scores})["q"]["recip_rank"] == pytest.approx(1 / rank)


def test_a_passage_that_is_the_query_itself_is_left_out_if_so_set():
    run = {"a": {"a": 9.0, "b": 2.0, "c": 1.0}, "b": {"b": 3.0, "c": 2.0, "a": 1.0}}
    queries = {"a": Query("a", "", is_passage=True), "b": Query("b", "")}
    assert search_depth(2, queries) == 3
    assert without_own_passages(run, 2, queries) == {
        "a": {"b": 2.0, "c": 1.0},
        "b": {"b": 3.0, "c": 2.0},
    }
    plain = {"a": Query("a", ""), "b": Query("b", "")}
    assert search_depth(3, plain) == 3
    assert without_own_passages(run, 3, plain) == run


def test_what_was_found_is_depth_in_words():
    """An index that visits one cell of many may find fewer passages than it is asked for."""
    valid, test = Run.of({"v": {"a": 1.0, "b": 0.5}}), Run.of({"x": {"a": 1.0, "b": 0.5}, "y": {}})
    assert depth_in_words([valid], 2) == "1 topics, 2 passages each"
    assert (
        depth_in_words([valid, test], 2)
        == "3 topics, 0 to 2 passages each; 1 topics have fewer than 2"
    )
    assert depth_in_words([valid], 3) == "1 topics, 2 passages each; 1 topics have fewer than 3"
    assert depth_in_words([Run.of({})], 5) == "0 topics, 5 passages each"
