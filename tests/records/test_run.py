"""A run in columns is the run of the mapping, in trec_eval's order."""

import numpy as np
import pyarrow
import pytest

from dpr.records.run import Run, order, ranking


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
    scores = np.array([0.0, np.inf, -np.inf, -1.0], np.float32)
    assert order(np.zeros(4, int), scores, lambda rows: rows).tolist() == [1, 0, 3, 2]
