"""Exact search against NumPy, and ties: scores and results that depend on no shape or memory."""

import numpy as np
import pytest
from index_helpers import (
    assert_exact,
    brute_force,
    build_and_open,
    ids,
    make_embeddings,
    make_queries,
    search,
)

from dpr import measures
from dpr.base.errors import InputError
from dpr.embeddings.artifact import Embeddings, to_stored
from dpr.indexes import build as build_module
from dpr.indexes import exact_search as exact_module
from dpr.indexes.exact_search import Resources, as_run, cut, exact_search
from dpr.similarity import SIMILARITIES, Similarity

# The bytes that exact search counts for a vector of 16 dimensions in float32.
BYTES_EACH = 5 * (16 * 4) / 0.75


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_flat_search_equals_numpy(tmp_path, monkeypatch, similarity, dtype):
    monkeypatch.setattr(build_module, "CHUNK", 64)
    monkeypatch.setattr(exact_module, "TILE", (4, 35))
    plain = make_embeddings(similarity)
    stored = to_stored(plain.vectors, dtype)
    decoded = stored
    if dtype == "int8":
        decoded = stored["numbers"].astype(np.float32) * stored["scale"][:, None]
    embeddings, queries = Embeddings(stored, plain.ids, plain.manifest), make_queries(similarity, 7)
    for memory in (1.0, 70.5 * BYTES_EACH / 2**30):  # all at once, about 70 of 500 at a time
        index = build_and_open(embeddings, tmp_path / "i", resources=Resources(memory))
        assert_exact(search(index, ids(7), queries, 20), decoded, queries, similarity)


def test_no_queries_find_nothing():
    """A collection need not have validation topics."""
    scores, rows = exact_search(make_embeddings("cosine"), np.empty((0, 16), np.float32), 3)
    assert scores.shape == rows.shape == (0, 3)


def test_less_memory_than_a_small_chunk_is_an_error():
    embeddings = make_embeddings("cosine")
    with pytest.raises(InputError, match=r"memory: 0\.0001 GiB hold 26 vectors of 16 .*0\.0059"):
        exact_search(embeddings, embeddings.vectors[:1], 3, resources=Resources(memory=0.0001))


# --- ties


def whole_numbers(similarity, count=400, seed=0):
    """Vectors of small whole numbers, whose scores are exact and often equal; ids in no order."""
    vectors = np.random.default_rng(seed).integers(-1, 2, (count, 16)).astype(np.float32)
    ids = [f"d{n}" for n in np.random.default_rng(1).permutation(count)]
    return Embeddings(vectors, ids, make_embeddings(similarity, count=1).manifest)


def first_by_id(scores, ids, top_k):
    """The rows that trec_eval ranks first: by score, then by id, descending."""
    ranked = sorted(range(len(ids)), key=lambda row: (scores[row], ids[row]), reverse=True)
    return set(ranked[:top_k])


@pytest.mark.parametrize("similarity", ["dot", "l2", "l1"])
@pytest.mark.parametrize("rows_at_once", [7, 150, 400])
def test_exact_search_keeps_the_last_ids_among_ties(monkeypatch, similarity, rows_at_once):
    monkeypatch.setattr(exact_module, "TILE", (4, rows_at_once))
    embeddings, queries = whole_numbers(similarity), whole_numbers(similarity, 9, seed=2).vectors
    resources = Resources((rows_at_once + 0.5) * BYTES_EACH / 2**30)
    scores, rows = exact_search(embeddings, queries, 25, resources=resources)
    ties = 0
    for number, query in enumerate(queries):
        exact = brute_force(similarity, query, embeddings.vectors)
        expected = first_by_id(exact, embeddings.ids, 25)
        assert rows[number].tolist() == sorted(expected, key=lambda row: (-exact[row], row))
        assert scores[number].tolist() == exact[rows[number]].tolist()
        ties += np.sort(exact)[-25] == np.sort(exact)[-26]
    assert ties >= 5  # to break


@pytest.mark.parametrize("similarity", ["cosine", "l2"])
@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw", "sq8", "lsh", "RR16,IVF16,SQ8"])
@pytest.mark.parametrize("rescore", [None, 40])
def test_each_kind_keeps_the_last_ids_among_ties(tmp_path, similarity, kind, rescore):
    plain = make_embeddings(similarity, count=40)
    ids = [f"d{n}" for n in np.random.default_rng(1).permutation(400)]
    embeddings = Embeddings(np.repeat(plain.vectors, 10, axis=0), ids, plain.manifest)
    queries = make_queries(similarity, 7)
    index = build_and_open(embeddings, tmp_path / "i", kind=kind, nlist=4, train_sample=400)
    everything = {"nprobe": 99, "ef": 400}
    whole = index.search(queries, 400, **everything)
    rows = index.search(queries, 25, **everything, rescore=rescore)[1]
    by_score = exact_search(embeddings, queries, 400) if rescore else whole
    for number in range(7):
        scores = dict(zip(by_score[1][number].tolist(), by_score[0][number].tolist(), strict=True))
        if rescore:  # among the candidates of the index
            found = dict(zip(whole[1][number].tolist(), whole[0][number].tolist(), strict=True))
            candidates = first_by_id([found.get(r, -np.inf) for r in range(400)], ids, 40)
            scores = {row: scores[row] for row in candidates}
        expected = first_by_id([scores.get(row, -np.inf) for row in range(400)], ids, 25)
        assert set(rows[number].tolist()) == expected


def test_a_judged_passage_among_equal_ones_counts_the_same_at_any_depth():
    """16 equal passages, the judged one last in the file."""
    vectors = np.ones((16, 4), np.float32) / 2
    embeddings = Embeddings(vectors, [f"d{n:02}" for n in range(16)], {"similarity": "cosine"})
    for depth in (10, 16):
        run = as_run(["q"], *exact_search(embeddings, vectors[:1], depth), embeddings.ids)
        assert measures.mean_primary_measure({"q": {"d15": 1}}, run) == 1.0


def test_padding_is_no_tie():
    scores = np.array([[3, 1, -np.inf, -np.inf]], np.float32)
    rows = np.array([[7, 8, -1, -1]])
    assert cut(scores, rows, 3, [])[1].tolist() == [[7, 8, -1]]


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_scores_depend_on_neither_memory_nor_shape(monkeypatch, similarity):
    """As on a processor where the last bits of a product depend on the shape of the input."""
    monkeypatch.setattr(exact_module, "TILE", (4, 192))
    embeddings, queries = make_embeddings(similarity, count=1000), make_queries(similarity, 11)
    whole, plain = exact_search(embeddings, queries, 30), Similarity.scores

    def by_shape(self, queries, passages):
        return plain(self, queries, passages) + 1e-3 * len(queries) + 1e-6 * len(passages)

    monkeypatch.setattr(Similarity, "scores", by_shape)
    results = [
        exact_search(embeddings, queries, 30, resources=Resources(rows * 427 / 2**30))
        for rows in (192, 400, 600, 10**6)
    ]
    assert not np.array_equal(results[0][0], whole[0])
    for scores, rows in results[1:]:
        np.testing.assert_array_equal(scores, results[0][0])
        np.testing.assert_array_equal(rows, results[0][1])


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize(("count", "asked"), [(1, 1), (5, 70), (150, 3), (1999, 70)])
def test_equal_vectors_have_equal_scores(similarity, count, asked):
    one = make_embeddings(similarity, count=1, dimension=384)
    equal = Embeddings(np.repeat(one.vectors, count, axis=0), ids(count), one.manifest)
    scores, _ = exact_search(equal, make_queries(similarity, asked, dimension=384), count)
    assert (scores == scores[:, :1]).all()
