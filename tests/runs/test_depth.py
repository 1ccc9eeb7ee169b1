"""The order of a run is trec_eval's, and its depth that of the settings."""

import pytest
import pytrec_eval

from dpr.records.run import Run, ranking
from dpr.records.types import Query
from dpr.runs.depth import counted, finish, search_depth


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
    run = {"a": {"a": 9.0, "b": 2.0, "c": 1.0}, "x": {"b": 3.0, "c": 2.0, "a": 1.0}}
    queries = {"a": Query("a", "", is_passage=True), "x": Query("x", "")}
    assert search_depth(2, queries) == 3
    assert finish(run, 2, queries) == {"a": {"b": 2.0, "c": 1.0}, "x": {"b": 3.0, "c": 2.0}}
    plain = {"a": Query("a", ""), "x": Query("x", "")}
    assert search_depth(3, plain) == 3
    assert finish(run, 3, plain) == run


def test_what_was_found_is_counted():
    """An index that visits one cell of many may find fewer passages than it is asked for."""
    valid, test = Run.of({"v": {"a": 1.0, "b": 0.5}}), Run.of({"x": {"a": 1.0, "b": 0.5}, "y": {}})
    assert counted([valid], 2) == "1 topics, 2 passages each"
    assert counted([valid, test], 2) == "3 topics, 0 to 2 passages each; 1 topics have fewer than 2"
    assert counted([valid], 3) == "1 topics, 2 passages each; 1 topics have fewer than 3"
    assert counted([Run.of({})], 5) == "0 topics, 5 passages each"
