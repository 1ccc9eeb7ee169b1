"""Every kind of index against NumPy, the same bytes again, and the defaults."""

import faiss
import numpy as np
import pytest
from index_helpers import assert_exact, build_and_open, ids, make_embeddings, options, search

from dpr.base.errors import InputError
from dpr.embeddings.artifact import Embeddings, to_stored
from dpr.indexes import build as build_module
from dpr.indexes import exact_search as exact_module
from dpr.indexes import kinds
from dpr.indexes.audit import recall
from dpr.indexes.exact_search import Resources, as_run, exact_search
from dpr.similarity import SIMILARITIES

# By kind: the least recall@10 that these small, clustered vectors allow.
APPROXIMATE = {"ivf": 0.8, "hnsw": 0.95, "ivfpq": 0.3, "pq": 0.3, "sq8": 0.9, "lsh": 0.15}
FACTORY = "RR16,IVF16,SQ8"
# What exact search counts for a vector of 16 dimensions in float32.
BYTES_EACH = 5 * (16 * 4) / 0.75


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_flat_search_equals_numpy(tmp_path, monkeypatch, similarity, dtype):
    monkeypatch.setattr(build_module, "CHUNK", 64)  # several chunks
    embeddings = make_embeddings(similarity, dtype=dtype)
    queries = make_embeddings(similarity, count=7, seed=1).vectors
    found = search(build_and_open(embeddings, tmp_path / "i"), ids(7), queries, 20)
    assert_exact(found, embeddings, queries, similarity)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_int8_vectors_are_searched_as_they_lie(tmp_path, similarity):
    plain = make_embeddings(similarity)
    stored = to_stored(plain.vectors, "int8")
    embeddings = Embeddings(stored, plain.ids, plain.manifest)
    decoded = stored["numbers"].astype(np.float32) * stored["scale"][:, None]
    queries = make_embeddings(similarity, count=7, seed=1).vectors
    found = search(build_and_open(embeddings, tmp_path / "i"), ids(7), queries, 20)
    assert_exact(found, Embeddings(decoded, plain.ids, {}), queries, similarity)
    assert recall(*(exact_search(e, queries, 10)[1] for e in (embeddings, plain)), 10) > 0.9


@pytest.mark.parametrize("similarity", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_what_visits_everything_equals_numpy(tmp_path, similarity, kind):
    """If they visit everything, ivf and hnsw are exact, for dot as distances too."""
    embeddings = make_embeddings(similarity)
    queries = make_embeddings(similarity, count=7, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i", kind=kind)
    found = search(index, ids(7), queries, 20, nprobe=10**6, ef=500)
    assert_exact(found, embeddings, queries, similarity)


@pytest.mark.parametrize(
    ("similarity", "kind"),
    [
        pytest.param(
            similarity,
            kind,
            # Codebooks take seconds to train.
            marks=[pytest.mark.slow] * (kind.endswith("pq") and similarity != "dot"),
        )
        for similarity in ("cosine", "dot", "l2")
        for kind in (*APPROXIMATE, FACTORY)
    ],
)
def test_each_kind_finds_most_and_scores_alike(tmp_path, similarity, kind):
    embeddings = make_embeddings(similarity, count=2000)
    queries = make_embeddings(similarity, count=50, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i", kind=kind, train_sample=500)
    scores, rows = index.search(queries, 10)
    exact_scores, exact = exact_search(embeddings, queries, 10)
    if kind != "lsh" or similarity != "l2":  # signs know no lengths
        assert recall(rows, exact, 10) >= APPROXIMATE.get(kind, 0.2)
    assert (np.diff(scores, axis=1) <= 0).all()  # higher is better, whatever the similarity
    if kind != "lsh":
        error = np.abs(scores[:, 0] - exact_scores[:, 0]).mean()
        assert error < 0.35 * np.abs(exact_scores).mean()


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_exact_search_equals_numpy(monkeypatch, similarity):
    monkeypatch.setattr(exact_module, "TILE", (4, 35))
    embeddings = make_embeddings(similarity)
    queries = make_embeddings(similarity, count=7, seed=1).vectors
    resources = Resources(memory=70.5 * BYTES_EACH / 2**30)  # 70 of 500 vectors at a time
    best = exact_search(embeddings, queries, 20, resources=resources)
    assert_exact(as_run(ids(7), *best, embeddings.ids), embeddings, queries, similarity)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_equal_scores_are_in_the_order_of_rows_whatever_the_chunk(monkeypatch, similarity):
    monkeypatch.setattr(exact_module, "TILE", (4, 1))
    embeddings = make_embeddings(similarity, count=40)
    doubled = Embeddings(np.repeat(embeddings.vectors, 9, axis=0), ids(360), embeddings.manifest)
    queries = make_embeddings(similarity, count=7, seed=1).vectors
    once = exact_search(embeddings, queries, 6)[1]
    for rows in (7, 64, 360):
        resources = Resources(memory=(rows + 0.5) * BYTES_EACH / 2**30)
        scores, found = exact_search(doubled, queries, 50, resources=resources)
        expected = (once[:, :, None] * 9 + np.arange(9)).reshape(7, -1)
        # (The last 5 are of 9 equal ones; equal vectors may differ in the last bit of a score.)
        np.testing.assert_array_equal(np.sort(found[:, :45]), np.sort(expected[:, :45]))
        down, equal = np.diff(scores, axis=1) < 0, np.diff(scores, axis=1) == 0
        assert (down | (equal & (np.diff(found, axis=1) > 0))).all() and equal.any()


def test_no_queries_find_nothing():
    """A collection need not have validation topics."""
    scores, rows = exact_search(make_embeddings("cosine"), np.empty((0, 16), np.float32), 3)
    assert scores.shape == rows.shape == (0, 3)


def test_less_memory_than_a_small_chunk_is_an_error():
    embeddings = make_embeddings("cosine")
    with pytest.raises(InputError, match=r"memory: 0\.0001 GiB hold 26 vectors of 16 .*0\.0059"):
        exact_search(embeddings, embeddings.vectors[:1], 3, resources=Resources(memory=0.0001))


@pytest.mark.parametrize(
    ("similarity", "kind"),
    [
        pytest.param(
            similarity,
            kind,
            marks=[pytest.mark.slow]
            * (kind == "pq" or (similarity == "dot" and kind not in ("ivf", "hnsw"))),
        )
        for similarity in ("cosine", "dot")
        for kind in (*APPROXIMATE, FACTORY)
    ],
)
def test_the_same_vectors_and_seed_are_the_same_bytes(tmp_path, kind, similarity):
    embeddings = make_embeddings(similarity, count=1000)
    for name in "ab":
        build_and_open(embeddings, tmp_path / name, kind=kind, seed=5, train_sample=400)
    a, b = ((tmp_path / name / "index.faiss").read_bytes() for name in "ab")
    assert a == b


def test_the_seed_draws_what_is_trained_on(tmp_path):
    embeddings = make_embeddings("cosine", count=2000)
    for seed in (1, 2):
        build_and_open(embeddings, tmp_path / str(seed), kind="ivf", train_sample=900, seed=seed)
    a, b = ((tmp_path / name / "index.faiss").read_bytes() for name in "12")
    assert a != b


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_float16_storage_halves_the_vectors(tmp_path, kind):
    embeddings = make_embeddings("cosine", count=1000, dimension=64)
    queries = make_embeddings("cosine", count=20, dimension=64, seed=1).vectors
    half = build_and_open(embeddings, tmp_path / "h", kind=kind, storage="float16")
    build_and_open(embeddings, tmp_path / "s", kind=kind)
    saved = [(tmp_path / name / "index.faiss").stat().st_size for name in "sh"]
    assert saved[0] - saved[1] == pytest.approx(1000 * 64 * 2, rel=0.02)
    found = half.search(queries, 10, nprobe=99, ef=500)[1]
    assert recall(found, exact_search(embeddings, queries, 10)[1], 10) > 0.97


@pytest.mark.parametrize("similarity", ["cosine", "dot", "l2", "l1"])
def test_truncated_vectors(tmp_path, similarity):
    embeddings = make_embeddings(similarity)
    queries = make_embeddings(similarity, count=3, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i", dimension=4)
    assert index.manifest["dimension"] == 4
    found = search(index, ids(3), queries, 20)
    passages, queries = embeddings.vectors[:, :4].astype(np.float64), queries[:, :4]
    if similarity == "cosine":
        passages = passages / np.linalg.norm(passages, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    assert_exact(found, Embeddings(passages, embeddings.ids, {}), queries, similarity)


# --- defaults


@pytest.mark.parametrize(
    ("count", "nlist"), [(12_189, 312), (1_000_000, 4_000), (40, 1), (10, 1), (100_000, 1_265)]
)
def test_default_cells_by_corpus_size(count, nlist):
    """4 sqrt(N), and 39 vectors a cell."""
    made = kinds.plan(options(kind="ivf"), SIMILARITIES["cosine"], count, 384)
    assert made.factory == f"IVF{nlist},Flat"


@pytest.mark.parametrize(("dimension", "parts"), [(768, 193), (384, 97), (100, 26), (7, 2)])
def test_dot_as_distances_has_the_codes_of_its_dimension(dimension, parts):
    """768 dimensions become 769, a prime, which zeros pad to a multiple."""
    made = kinds.plan(options(kind="ivfpq", nlist=64), SIMILARITIES["dot"], 10_000, dimension)
    assert made.factory == f"IVF64,PQ{parts}x8"
    assert made.width % parts == 0
    assert made.width == 4 * parts


def test_settings_are_those_of_the_index():
    def made(**changes):
        chosen = options(**changes)
        return kinds.plan(chosen, SIMILARITIES["cosine"], 10_000, 384).factory

    assert made(kind="hnsw", hnsw_m=16) == "HNSW16,Flat"
    assert made(kind="pq") == "PQ96x8"
    assert made(kind="ivfpq", pq_bytes=48, nlist=64) == "IVF64,PQ48x8"
    assert made(kind="lsh") == "LSH768"
    assert made(kind="sq8") == "SQ8"


def test_no_kind_is_trained_for_a_search_that_is_not_used(tmp_path):
    """FAISS's polysemous training takes seconds a byte, and changes no distance."""
    embeddings = make_embeddings("cosine", count=600)
    for kind in ("PQ4x8", "IVF4,PQ4x8", "HNSW8,PQ4"):
        index, _ = build_module.build(embeddings, options(kind=kind), seed=0)
        inner = faiss.downcast_index(index)
        coded = inner if hasattr(inner, "pq") else faiss.downcast_index(inner.storage)
        assert not coded.do_polysemous_training
