"""Ties: which of several equal passages are found, and scores that depend on no shape."""

import numpy as np
import pytest
from index_helpers import brute_force, build_and_open, make_embeddings

from dpr import measures
from dpr.embeddings.artifact import Embeddings
from dpr.indexes import exact_search as exact_module
from dpr.indexes.exact_search import Resources, as_run, cut, exact_search
from dpr.similarity import SIMILARITIES, Similarity

KINDS = ["flat", "ivf", "hnsw", "sq8", "lsh", "RR16,IVF16,SQ8"]


def whole_numbers(similarity, count=400, seed=0):
    """Vectors of small whole numbers, whose scores are exact and often equal; ids in no order."""
    vectors = np.random.default_rng(seed).integers(-1, 2, (count, 16)).astype(np.float32)
    ids = [f"d{n}" for n in np.random.default_rng(1).permutation(count)]
    return Embeddings(vectors, ids, make_embeddings(similarity, count=1).manifest)


def first_by_id(scores, ids, top_k):
    """The rows that trec_eval would rank first: by score, then by id, descending."""
    ranked = sorted(range(len(ids)), key=lambda row: (scores[row], ids[row]), reverse=True)
    return set(ranked[:top_k])


@pytest.mark.parametrize("similarity", ["dot", "l2", "l1"])
@pytest.mark.parametrize("rows_at_once", [1, 7, 150, 400])
def test_exact_search_keeps_the_last_ids_of_those_that_are_tied(
    monkeypatch, similarity, rows_at_once
):
    monkeypatch.setattr(exact_module, "TILE", (4, rows_at_once))
    embeddings, queries = whole_numbers(similarity), whole_numbers(similarity, 9, seed=2).vectors
    memory = (rows_at_once + 0.5) * (5 * (16 * 4) / 0.75) / 2**30
    scores, found = exact_search(embeddings, queries, 25, resources=Resources(memory))
    ties = 0
    for query, rows, values in zip(queries, found, scores, strict=True):
        exact = brute_force(similarity, query, embeddings.vectors)
        assert set(rows.tolist()) == first_by_id(exact, embeddings.ids, 25)
        assert values.tolist() == exact[rows].tolist()
        ties += np.sort(exact)[-25] == np.sort(exact)[-26]
    assert ties >= 5  # to break


@pytest.mark.parametrize("similarity", ["cosine", "l2"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rescore", [None, 40])
def test_each_kind_keeps_the_last_ids_of_those_that_are_tied(tmp_path, similarity, kind, rescore):
    plain = make_embeddings(similarity, count=40)
    ids = [f"d{n}" for n in np.random.default_rng(1).permutation(400)]
    embeddings = Embeddings(np.repeat(plain.vectors, 10, axis=0), ids, plain.manifest)
    queries = make_embeddings(similarity, count=7, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i", kind=kind, nlist=4, train_sample=400)
    everything = {"nprobe": 99, "ef": 400}
    whole = index.search(queries, 400, **everything)
    found = index.search(queries, 25, **everything, rescore=rescore)[1]
    by_score = exact_search(embeddings, queries, 400) if rescore else whole
    for number, rows in enumerate(found):
        scores = dict(zip(by_score[1][number].tolist(), by_score[0][number].tolist(), strict=True))
        if rescore:  # among the candidates that the index names
            order = [scores_of[number] for scores_of in whole]
            candidates = dict(zip(order[1].tolist(), order[0].tolist(), strict=True))
            inside = first_by_id([candidates.get(r, -np.inf) for r in range(400)], ids, 40)
            scores = {row: scores[row] if row in inside else -np.inf for row in range(400)}
        expected = first_by_id([scores.get(row, -np.inf) for row in range(400)], ids, 25)
        assert {ids[row] for row in rows} == {ids[row] for row in expected}


def test_a_judged_passage_among_equal_ones_counts_the_same_at_any_depth():
    """16 equal passages, the judged one last in the file."""
    vectors = np.ones((16, 4), np.float32) / 2
    embeddings = Embeddings(vectors, [f"d{n:02}" for n in range(16)], {"similarity": "cosine"})
    for depth in (10, 16):
        found = as_run(["q"], *exact_search(embeddings, vectors[:1], depth), embeddings.ids)
        assert measures.headline({"q": {"d15": 1}}, found) == 1.0


def test_what_is_not_there_is_no_tie():
    scores = np.array([[3, 1, -np.inf, -np.inf]], np.float32)
    rows = np.array([[7, 8, -1, -1]])
    assert cut(scores, rows, 3, [])[1].tolist() == [[7, 8, -1]]


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_scores_depend_on_neither_memory_nor_shape(monkeypatch, similarity):
    """As on a processor whose products differ in the last bits with the shape of what is asked."""
    monkeypatch.setattr(exact_module, "TILE", (4, 192))
    embeddings = make_embeddings(similarity, count=1000)
    queries = make_embeddings(similarity, count=11, seed=1).vectors
    whole, plain = exact_search(embeddings, queries, 30), Similarity.scores

    def by_shape(self, queries, passages):
        return plain(self, queries, passages) + 1e-3 * len(queries) + 1e-6 * len(passages)

    monkeypatch.setattr(Similarity, "scores", by_shape)
    found = [
        exact_search(embeddings, queries, 30, resources=Resources(rows * 427 / 2**30))
        for rows in (192, 400, 600, 10**6)
    ]
    assert not np.array_equal(found[0][0], whole[0])
    for scores, rows in found[1:]:
        np.testing.assert_array_equal(scores, found[0][0])
        np.testing.assert_array_equal(rows, found[0][1])


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("count", [1, 5, 150, 1999])
@pytest.mark.parametrize("asked", [1, 3, 70])
def test_equal_vectors_have_equal_scores(similarity, count, asked):
    one = make_embeddings(similarity, count=1, dimension=384)
    equal = Embeddings(np.repeat(one.vectors, count, axis=0), [str(n) for n in range(count)], {})
    equal = Embeddings(equal.vectors, equal.ids, one.manifest)
    queries = make_embeddings(similarity, count=asked, dimension=384, seed=1).vectors
    scores, _ = exact_search(equal, queries, count)
    assert (scores == scores[:, :1]).all()
