"""Every kind of index against NumPy, equal bytes twice, defaults, and bad input."""

import faiss
import numpy as np
import pytest
from index_helpers import (
    assert_exact,
    build_and_open,
    ids,
    make_embeddings,
    make_queries,
    options,
    search,
)

from dpr.base.errors import InputError
from dpr.embeddings.artifact import Embeddings
from dpr.indexes import kinds
from dpr.indexes.audit import recall
from dpr.indexes.build import build
from dpr.indexes.exact_search import exact_search
from dpr.indexes.wrappers import can_be_merged
from dpr.similarity import SIMILARITIES

# By kind: the least recall@10 that these small, clustered vectors allow.
APPROXIMATE = {"ivf": 0.8, "hnsw": 0.95, "ivfpq": 0.3, "pq": 0.3, "sq8": 0.9, "lsh": 0.15}
APPROXIMATE["RR16,IVF16,SQ8"] = 0.2


def index_bytes(folder):
    return (folder / "index.faiss").read_bytes()


@pytest.mark.parametrize(
    ("similarity", "kind"),
    [*((s, "flat") for s in SIMILARITIES)]
    + [(s, kind) for s in ("cosine", "dot", "l2") for kind in ("ivf", "hnsw")],
)
@pytest.mark.parametrize("dimension", [None, 4])
def test_an_index_that_visits_everything_equals_numpy(tmp_path, similarity, kind, dimension):
    embeddings, queries = make_embeddings(similarity), make_queries(similarity, 7)
    index = build_and_open(embeddings, tmp_path / "i", kind=kind, dimension=dimension)
    assert index.manifest["dimension"] == (dimension or 16)
    run = search(index, ids(7), queries, 20, nprobe=10**6, ef=500)
    passages, queries = embeddings.vectors[:, :dimension], queries[:, :dimension]
    if similarity == "cosine":
        passages = passages / np.linalg.norm(passages, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    assert_exact(run, passages, queries, similarity)


@pytest.mark.parametrize(
    ("similarity", "kind"),
    [
        pytest.param(s, kind, marks=[pytest.mark.slow] * (kind.endswith("pq") and s != "dot"))
        for s in ("cosine", "dot", "l2")
        for kind in APPROXIMATE
    ],
)
def test_each_kind_finds_most_and_has_equal_bytes_twice(tmp_path, similarity, kind):
    embeddings, queries = make_embeddings(similarity, count=2000), make_queries(similarity, 50)
    for name in "ab":
        folder = tmp_path / name
        index = build_and_open(embeddings, folder, kind=kind, seed=5, train_sample=500)
    assert index_bytes(tmp_path / "a") == index_bytes(tmp_path / "b")
    scores, rows = index.search(queries, 10)
    exact_scores, exact = exact_search(embeddings, queries, 10)
    if kind != "lsh" or similarity != "l2":  # signs know no lengths
        assert recall(rows, exact, 10) >= APPROXIMATE[kind]
    assert (np.diff(scores, axis=1) <= 0).all()  # higher is better, whatever the similarity
    if kind != "lsh":
        error = np.abs(scores[:, 0] - exact_scores[:, 0]).mean()
        assert error < 0.35 * np.abs(exact_scores).mean()


@pytest.mark.parametrize("train_sample", [400, None])
def test_the_seed_draws_the_training_sample_and_the_centroids(tmp_path, train_sample):
    embeddings, chosen = make_embeddings("cosine"), options(kind="ivf", train_sample=train_sample)
    for seed in (1, 2):
        build(embeddings, chosen, seed, tmp_path / str(seed))
    assert index_bytes(tmp_path / "1") != index_bytes(tmp_path / "2")


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_float16_storage_halves_the_vectors(tmp_path, kind):
    embeddings = make_embeddings("cosine", count=1000, dimension=64)
    queries = make_queries("cosine", 20, dimension=64)
    half = build_and_open(embeddings, tmp_path / "h", kind=kind, storage="float16")
    build_and_open(embeddings, tmp_path / "s", kind=kind)
    saved = len(index_bytes(tmp_path / "s")) - half.size
    assert saved == pytest.approx(1000 * 64 * 2, rel=0.02)
    rows = half.search(queries, 10, nprobe=99, ef=500)[1]
    assert recall(rows, exact_search(embeddings, queries, 10)[1], 10) > 0.97


@pytest.mark.parametrize(
    ("factory", "merged"),
    [
        *((cells, True) for cells in ("IVF4,Flat", "PCA8,IVF4,SQ8", "IVF4,PQ4x4")),
        *((other, False) for other in ("Flat", "IVF4,SQ8,RFlat", "HNSW8", "LSH")),
    ],
)
def test_parts_are_merged_if_faiss_can(factory, merged):
    """(FAISS also merges flat indexes, which are never filled in parts.)"""
    vectors = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    whole = faiss.index_factory(16, factory)
    whole.train(vectors)
    assert can_be_merged(whole) == merged
    if merged:
        parts = [faiss.clone_index(whole) for _ in range(2)]
        whole.add(vectors)
        for part, rows in zip(parts, np.split(vectors, 2), strict=True):
            part.add(rows)
        parts[0].merge_from(parts[1], parts[0].ntotal)
        found = [index.search(vectors[:9], 5)[1] for index in (parts[0], whole)]
        np.testing.assert_array_equal(*found)


def test_no_kind_is_trained_for_a_search_that_nobody_uses(tmp_path):
    """FAISS's polysemous training takes seconds per byte, and changes no distance."""
    embeddings = make_embeddings("cosine", count=600)
    for kind in ("PQ4x8", "IVF4,PQ4x8", "HNSW8,PQ4"):
        index = build(embeddings, options(kind=kind), 0, tmp_path / "i")
        inner = faiss.downcast_index(index)
        coded = inner if hasattr(inner, "pq") else faiss.downcast_index(inner.storage)
        assert not coded.do_polysemous_training


# --- settings and their defaults


@pytest.mark.parametrize(
    ("similarity", "changes", "count", "dimension", "factory"),
    [
        # 4 sqrt(N) cells, and 39 vectors per cell
        ("cosine", {"kind": "ivf"}, 12_189, 384, "IVF312,Flat"),
        ("cosine", {"kind": "ivf"}, 1_000_000, 384, "IVF4000,Flat"),
        ("cosine", {"kind": "ivf"}, 100_000, 384, "IVF1265,Flat"),
        ("cosine", {"kind": "ivf"}, 40, 384, "IVF1,Flat"),
        ("cosine", {"kind": "ivf"}, 10, 384, "IVF1,Flat"),
        ("cosine", {"kind": "hnsw", "hnsw_m": 16}, 10_000, 384, "HNSW16,Flat"),
        ("cosine", {"kind": "pq"}, 10_000, 384, "PQ96x8"),
        ("l2", {"kind": "pq"}, 1000, 50, "PQ10x8"),  # a number that divides 50
        ("cosine", {"kind": "ivfpq", "pq_bytes": 48, "nlist": 64}, 10_000, 384, "IVF64,PQ48x8"),
        ("cosine", {"kind": "lsh"}, 10_000, 384, "LSH768r"),
        ("cosine", {"kind": "LSH40"}, 10_000, 384, "LSH40r"),
        ("cosine", {"kind": "sq8"}, 10_000, 384, "SQ8"),
        # One more dimension: 769 is a prime, which zeros pad to a multiple.
        ("dot", {"kind": "ivfpq", "nlist": 64}, 10_000, 768, "IVF64,PQ193x8"),
        ("dot", {"kind": "ivfpq", "nlist": 64}, 10_000, 384, "IVF64,PQ97x8"),
        ("dot", {"kind": "ivfpq", "nlist": 64}, 10_000, 7, "IVF64,PQ2x8"),
    ],
)
def test_the_factory_of_each_kind(similarity, changes, count, dimension, factory):
    plan = kinds.plan(options(**changes), SIMILARITIES[similarity], count, dimension)
    assert plan.factory == factory
    if similarity == "dot":
        assert plan.width == 4 * int(factory.split("PQ")[1].removesuffix("x8"))


# --- bad input


@pytest.mark.parametrize(
    ("changes", "count", "message"),
    [
        ({"kind": "ivf", "nlist": 501}, 500, r"nlist: 501 cells, but there are only 500 passages"),
        ({"kind": "pq"}, 255, r"pq trains 256 centroids, but there are only 255 passages"),
        (
            {"kind": "ivfpq", "pq_bytes": 5},
            500,
            r"pq_bytes: FAISS cannot make 'IVF12,PQ5x8' of 16 ",
        ),
        ({"kind": "no such"}, 500, r"index\.kind .* FAISS cannot make 'no such' of 16 dim.*hnsw"),
        ({"kind": "pq", "storage": "float16"}, 500, r"storage: pq stores codes"),
        ({"storage": "float16"}, 500, r"storage: flat stores nothing; set encode\.dtype float16"),
        ({"kind": "IVF600,Flat"}, 500, r"index\.kind: FAISS cannot build 'IVF600,Flat'"),
        ({"kind": "IDMap,Flat"}, 500, r"index\.kind: FAISS cannot build 'IDMap,Flat'"),
        ({"kind": "pq", "train_sample": 99}, 500, r"train_sample: 99 .* 256 centroids"),
        ({"dimension": 17}, 500, r"index\.dimension: 17, but the vectors have 16"),
    ],
)
def test_settings_that_cannot_be_built_are_errors(tmp_path, changes, count, message):
    with pytest.raises(InputError, match=message):
        build(make_embeddings("cosine", count=count), options(**changes), 0, tmp_path / "i")
    assert not list(tmp_path.iterdir())


def test_l1_needs_exact_search(tmp_path):
    with pytest.raises(InputError, match="similarity l1 needs kind flat"):
        build(make_embeddings("l1"), options(kind="hnsw"), 0, tmp_path / "i")


def test_vectors_that_differ_from_the_manifest_are_refused(tmp_path):
    np.save(tmp_path / "vectors.npy", make_embeddings("dot").vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    manifest = {"similarity": "dot", "sha256": "different"}
    with pytest.raises(InputError, match=r"vectors\.npy: damaged"):
        build(Embeddings(mapped, ids(500), manifest), options(), 0, tmp_path / "i")


@pytest.mark.parametrize(("kind", "warnings"), [("ivf", 1), ("pq", 0), ("ivfpq", 1)])
def test_faiss_warns_of_few_vectors_per_cell_but_not_for_each_byte(tmp_path, capfd, kind, warnings):
    build(make_embeddings("cosine"), options(kind=kind, nlist=100), 0, tmp_path / "i")
    told = capfd.readouterr().err
    assert told.count("clustering 500 points to 100 centroids") == told.count("WARNING") == warnings


def test_threads_are_restored(tmp_path):
    faiss.omp_set_num_threads(2)
    build_and_open(make_embeddings("cosine"), tmp_path / "i", kind="hnsw")
    assert faiss.omp_get_max_threads() == 2
