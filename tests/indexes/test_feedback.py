"""Pseudo-relevance feedback against NumPy and values by hand: kinds of search, and edges."""

import numpy as np
import pytest
from helpers import PARAMS
from index_helpers import (
    asked,
    assert_exact,
    brute_force,
    build_and_open,
    ids,
    make_embeddings,
    make_queries,
    search,
)

from dpr.embeddings.artifact import Embeddings
from dpr.indexes.feedback import with_feedback
from dpr.records.types import Query


def chosen(method, passages=3, alpha=0.4, beta=0.6, **changes):
    feedback = {"method": method, "passages": passages, "alpha": alpha, "beta": beta}
    feedback = PARAMS.search.feedback.model_copy(update=feedback)
    return PARAMS.search.model_copy(update={"top_k": 20, "feedback": feedback} | changes)


def opened(folder, vectors, names, similarity="dot", **changes):
    manifest = {"similarity": similarity, "sha256": "e", "encoder": {"sha256": "m"}}
    vectors = np.array(vectors, np.float32)
    return build_and_open(
        Embeddings(vectors, names, manifest | {"format": "fp32"}), folder, **changes
    )


def units(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def moved_by_numpy(queries, passages, similarity, method, k, compared=None):
    """By the definition, in float64; only the first `compared` components rank the passages."""
    queries, passages = queries.astype(np.float64), passages.astype(np.float64)
    short = [vectors[:, :compared] for vectors in (queries, passages)]
    short = [units(part) for part in short] if similarity == "cosine" else short
    moved = []
    for query, whole in zip(short[0], queries, strict=True):
        first = passages[np.argsort(-brute_force(similarity, query, short[1]))[:k]]
        if method == "mean":
            moved.append(np.vstack([whole, first]).mean(axis=0))
        else:
            moved.append(0.4 * whole + 0.6 * first.mean(axis=0))
    return units(np.array(moved)) if similarity == "cosine" else np.array(moved)


@pytest.mark.parametrize("method", ["mean", "rocchio"])
@pytest.mark.parametrize("similarity", ["cosine", "dot", "l2"])
@pytest.mark.parametrize(
    ("kind", "dimension", "settings"),
    [
        ("flat", None, {}),
        ("flat", 4, {}),
        ("hnsw", None, {}),
        ("ivf", None, {"nprobe": 10**6}),
        ("pq", None, {"rescore": 500}),
    ],
)
def test_the_second_search_is_that_of_numpy(
    tmp_path, method, similarity, kind, dimension, settings
):
    """An index that misses nothing, or with rescoring of all that it finds."""
    embeddings, queries = make_embeddings(similarity), make_queries(similarity, 7)
    index = build_and_open(embeddings, tmp_path / "i", kind=kind, dimension=dimension)
    options = chosen(method, passages=5, **settings)
    moved = with_feedback(index, asked(7), queries, options)
    expected = moved_by_numpy(queries, embeddings.vectors, similarity, method, 5, dimension)
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    assert moved.dtype == np.float32
    if kind == "flat" and dimension is None:
        found = search(index, ids(7), moved, 20)
        assert_exact(found, embeddings.vectors, expected, similarity)
        assert found != search(index, ids(7), queries, 20)


THREE = [[1, 0], [0, 1], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("method", "similarity", "expected"),
    [  # the query (2, 1) finds a, then c: their mean is (.75, .25)
        ("mean", "dot", [3.5 / 3, 1.5 / 3]),
        ("rocchio", "dot", [0.4 * 2 + 0.6 * 0.75, 0.4 * 1 + 0.6 * 0.25]),
    ],
)
def test_values_by_hand(tmp_path, method, similarity, expected):
    index = opened(tmp_path / "i", THREE, ["a", "b", "c"], similarity)
    query = np.array([[2, 1]], np.float32)
    moved = with_feedback(index, [Query("q", "")], query, chosen(method, passages=2))
    np.testing.assert_allclose(moved, [expected], rtol=1e-6)
    assert query.tolist() == [[2, 1]]


def test_no_method_changes_nothing(tmp_path):
    index = opened(tmp_path / "i", THREE, ["a", "b", "c"])
    query = np.array([[2, 1]], np.float32)
    assert with_feedback(index, [Query("q", "")], query, chosen(None)) is query


def test_of_equal_passages_the_run_s_first_counts(tmp_path):
    """Equal scores rank by id, descending, as in trec_eval."""
    index = opened(tmp_path / "i", [[1, 0], [1, 5], [1, 9]], ["c", "b", "a"])
    moved = with_feedback(index, [Query("q", "")], np.eye(1, 2, dtype="f"), chosen("mean", 1))
    np.testing.assert_allclose(moved, [[1, 0]])


def test_fewer_passages_than_asked_for(tmp_path):
    """A corpus of three passages, and a search that visits one of many cells."""
    index = opened(tmp_path / "i", THREE, ["a", "b", "c"])
    query = np.array([[2, 1]], np.float32)
    moved = with_feedback(index, [Query("q", "")], query, chosen("mean", 10))
    np.testing.assert_allclose(moved, [[3.5 / 4, 2.5 / 4]])

    embeddings, queries = make_embeddings("dot", count=60), make_queries("dot", 9)
    index = build_and_open(embeddings, tmp_path / "ivf", kind="ivf", nlist=20)
    settings = chosen("mean", 20, nprobe=1)
    rows = index.search(queries, 20, nprobe=1)[1]
    assert (rows < 0).any()
    expected = [
        np.vstack([query, embeddings.vectors[found[found >= 0]]]).mean(axis=0)
        for query, found in zip(queries, rows, strict=True)
    ]
    moved = with_feedback(index, asked(9), queries, settings)
    np.testing.assert_allclose(moved, expected, atol=1e-5)


@pytest.mark.parametrize("documents", [False, True])
def test_a_query_that_is_a_passage_learns_nothing_from_itself(tmp_path, documents):
    """The first query does not see its own passages; the second finds them like all others."""
    names = ["d1#0", "d1#1", "d2#0"] if documents else ["d1", "d3", "d2"]
    vectors = [[9, 0], [8, 0], [0, 4]] if documents else [[9, 0], [-1, 0], [0, 4]]
    index = opened(tmp_path / "i", vectors, names)
    queries = [Query("d1", "", is_passage=True), Query("d1", "")]
    given = np.array([[1, 0], [1, 0]], np.float32)
    moved = with_feedback(index, queries, given, chosen("mean", 1), documents)
    np.testing.assert_allclose(moved, [[0.5, 2], [5, 0]])


@pytest.mark.parametrize("method", ["mean", "rocchio"])
def test_a_query_that_finds_nothing_stays_as_it_is(tmp_path, method):
    """The only passage is the query itself. The other query moves."""
    index = opened(tmp_path / "i", [[0.6, 0.8]], ["d1"], "cosine")
    queries = [Query("d1", "", is_passage=True), Query("q", "")]
    given = np.array([[0.6, 0.8], [1, 0]], np.float32)
    moved = with_feedback(index, queries, given, chosen(method))
    assert moved[0].tobytes() == given[0].tobytes()
    assert (moved[1] != given[1]).all()
