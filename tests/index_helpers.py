"""Shared by the tests of indexes: vectors in clusters, a built index, NumPy's own ranking."""

import numpy as np
from helpers import PARAMS

from dpr.embeddings.artifact import Embeddings
from dpr.indexes.build import build
from dpr.indexes.exact_search import LOCAL, as_run
from dpr.indexes.index import Index
from dpr.records.types import Query
from dpr.similarity import SIMILARITIES


def options(**changes):
    return PARAMS.index.model_copy(update=changes)


def make_embeddings(similarity, count=500, dimension=16, dtype=np.float32, seed=0):
    """Vectors in clusters, scaled by 0.5 to 2."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).normal(size=(20, dimension))
    vectors = centers[rng.integers(20, size=count)] + 0.5 * rng.normal(size=(count, dimension))
    vectors *= rng.uniform(0.5, 2, (count, 1))
    if SIMILARITIES[similarity].normalize:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    manifest = {"similarity": similarity, "sha256": "e", "encoder": {"sha256": "m"}}
    manifest["format"] = "fp32"
    return Embeddings(vectors.astype(dtype), [f"d{i}" for i in range(count)], manifest)


def make_queries(similarity, count, **options):
    """(count, D) query vectors, other ones than those of `make_embeddings`."""
    return make_embeddings(similarity, count=count, seed=1, **options).vectors


def build_and_open(embeddings, folder, seed=0, mapped=True, resources=LOCAL, **changes):
    build(embeddings, options(**changes), seed, folder)
    return Index.open(folder, embeddings, resources, mapped)


def search(index, query_ids, vectors, top_k, nprobe=None, ef=None):
    """{query id: {passage id: score}} of an index's result."""
    return as_run(query_ids, *index.search(vectors, top_k, nprobe, ef), index.embeddings.ids)


def brute_force(similarity, query, passages):
    if similarity == "l2":
        return -((passages - query) ** 2).sum(1)
    return -np.abs(passages - query).sum(1) if similarity == "l1" else passages @ query


def assert_exact(run, passages, queries, similarity, depth=20):
    """The run of these (Q, D) queries is NumPy's ranking of the (N, D) passages d0, d1, ..."""
    for number, query in enumerate(queries.astype(np.float64)):
        scores = brute_force(similarity, query, passages.astype(np.float64))
        best = np.argsort(-scores)[:depth]
        assert list(run[str(number)]) == [f"d{i}" for i in best]
        np.testing.assert_allclose(list(run[str(number)].values()), scores[best], rtol=1e-3)


def ids(count):
    return [str(i) for i in range(count)]


def asked(count):
    return [Query(query_id, "") for query_id in ids(count)]
