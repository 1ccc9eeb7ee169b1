"""Exact scores for what an index with compressed vectors has found."""

import numpy as np
import pytest
from helpers import PARAMS
from index_helpers import asked, brute_force, build_and_open, make_embeddings

from dpr.indexes.audit import audit, recall
from dpr.indexes.exact_search import exact_search
from dpr.indexes.rescoring import rescored
from dpr.similarity import SIMILARITIES


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dimension", [None, 8])
def test_the_scores_are_those_of_numpy(similarity, dimension):
    embeddings = make_embeddings(similarity, dtype=np.float16)
    queries = make_embeddings(similarity, count=6, seed=1).vectors
    queries = SIMILARITIES[similarity].truncate(queries, dimension)
    passages = SIMILARITIES[similarity].truncate(embeddings.vectors, dimension)
    hundred_pairs = 100 * 4 * (4 * 16) / 2**30  # so that there are several blocks
    rng = np.random.default_rng(3)
    found = np.stack([rng.permutation(500)[:40] for _ in queries])
    found[2, 30:] = -1  # an index may find fewer
    scores, rows = rescored(embeddings, queries, found, 35, dimension, hundred_pairs)
    for number, query in enumerate(queries.astype(np.float64)):
        own = found[number][found[number] >= 0]
        exact = brute_force(similarity, query, passages[own].astype(np.float64))
        order = np.argsort(-exact)[:35]
        assert rows[number][rows[number] >= 0].tolist() == own[order].tolist()
        np.testing.assert_allclose(scores[number][: len(order)], exact[order], rtol=1e-4, atol=1e-6)
    assert (rows[2, 30:] == -1).all()


@pytest.mark.parametrize("kind", ["lsh", pytest.param("pq", marks=pytest.mark.slow)])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_rescoring_finds_more_and_scores_exactly(tmp_path, kind, similarity):
    embeddings = make_embeddings(similarity, count=2000)
    queries = make_embeddings(similarity, count=30, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i", kind=kind, train_sample=500)
    exact_scores, exact = exact_search(embeddings, queries, 10)
    plain = recall(index.search(queries, 10)[1], exact, 10)
    scores, rows = index.search(queries, 10, rescore=400)
    assert recall(rows, exact, 10) > plain + 0.2
    same = rows == exact
    np.testing.assert_allclose(scores[same], exact_scores[same], rtol=1e-5)


def test_the_audit_says_what_rescoring_gains(tmp_path):
    embeddings = make_embeddings("cosine", count=1500)
    vectors = make_embeddings("cosine", count=30, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i", kind="lsh")
    settings = PARAMS.search.model_copy(update={"top_k": 100, "rescore": 300})
    found = audit(index, asked(30), vectors, {"0": {"d1": 1}}, settings).metrics
    exact = exact_search(embeddings, vectors, 100)[1]
    plain = index.search(vectors, 100)[1]
    for depth in (10, 100):
        before = found["without_rescoring"][f"recall@{depth}"]
        assert before == recall(plain, exact, depth) < found[f"recall@{depth}"]
