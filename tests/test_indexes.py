"""Every kind of index against NumPy, the same bytes again, and what cannot be built."""

import faiss
import numpy as np
import pytest
from helpers import PARAMS

from dpr.embeddings import Embeddings
from dpr.errors import InputError
from dpr.indexes import build as build_module
from dpr.indexes import exact as exact_module
from dpr.indexes import kinds
from dpr.indexes.artifact import Index, save
from dpr.indexes.audit import audit, recall, require
from dpr.indexes.build import build
from dpr.indexes.exact import exact_search
from dpr.search import search
from dpr.similarity import SIMILARITIES

# By kind: the least recall@10 that these small, clustered vectors allow.
APPROXIMATE = {"ivf": 0.8, "hnsw": 0.95, "ivfpq": 0.3, "pq": 0.3, "sq8": 0.9, "lsh": 0.15}
FACTORY = "RR16,IVF16,SQ8"


def options(**changes):
    return PARAMS.index.model_copy(update=changes)


def make_embeddings(similarity, count=500, dimension=16, dtype=np.float32, seed=0):
    """Vectors in clusters, of lengths between a half and two."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).normal(size=(20, dimension))
    vectors = centers[rng.integers(20, size=count)] + 0.5 * rng.normal(size=(count, dimension))
    vectors *= rng.uniform(0.5, 2, (count, 1))
    if SIMILARITIES[similarity].normalize:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    manifest = {"similarity": similarity, "sha256": "e", "encoder": {"sha256": "m"}}
    return Embeddings(vectors.astype(dtype), [f"d{i}" for i in range(count)], manifest)


def build_and_open(embeddings, folder, seed=0, **changes):
    chosen = options(**changes)
    save(*build(embeddings, chosen, seed), embeddings, chosen, folder)
    return Index.open(folder)


def brute_force(similarity, query, passages):
    if similarity == "l2":
        return -((passages - query) ** 2).sum(1)
    return -np.abs(passages - query).sum(1) if similarity == "l1" else passages @ query


def assert_exact(found, embeddings, queries, similarity, depth=20):
    passages = embeddings.vectors.astype(np.float64)
    for number, query in enumerate(queries.astype(np.float64)):
        scores = brute_force(similarity, query, passages)
        best = np.argsort(-scores)[:depth]
        assert list(found[str(number)]) == [f"d{i}" for i in best]
        np.testing.assert_allclose(list(found[str(number)].values()), scores[best], rtol=1e-3)


def ids(count):
    return [str(i) for i in range(count)]


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_flat_search_equals_numpy(tmp_path, monkeypatch, similarity, dtype):
    monkeypatch.setattr(build_module, "CHUNK", 64)  # several chunks
    embeddings = make_embeddings(similarity, dtype=dtype)
    queries = make_embeddings(similarity, count=7, seed=1).vectors
    found = search(build_and_open(embeddings, tmp_path / "i"), ids(7), queries, 20)
    assert_exact(found, embeddings, queries, similarity)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_what_visits_everything_equals_numpy(tmp_path, similarity, kind):
    """All cells, or a walk over all: ivf and hnsw are exact, dot through its distances too."""
    embeddings = make_embeddings(similarity)
    queries = make_embeddings(similarity, count=7, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i", kind=kind)
    found = search(index, ids(7), queries, 20, nprobe=10**6, ef=500)
    assert_exact(found, embeddings, queries, similarity)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("kind", [*APPROXIMATE, FACTORY])
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
    monkeypatch.setattr(exact_module, "CHUNK", 64)
    embeddings = make_embeddings(similarity)
    queries = make_embeddings(similarity, count=7, seed=1).vectors
    found = exact_module.as_run(ids(7), *exact_search(embeddings, queries, 20), embeddings.ids)
    assert_exact(found, embeddings, queries, similarity)


@pytest.mark.parametrize("kind", ["flat", *APPROXIMATE, FACTORY])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
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


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
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
def test_vectors_can_be_cut(tmp_path, similarity):
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


def test_settings_are_those_of_the_index():
    def made(**changes):
        chosen = options(**changes)
        return kinds.plan(chosen, SIMILARITIES["cosine"], 10_000, 384).factory

    assert made(kind="hnsw", hnsw_m=16) == "HNSW16,Flat"
    assert made(kind="pq") == "PQ96x8"
    assert made(kind="ivfpq", pq_bytes=48, nlist=64) == "IVF64,PQ48x8"
    assert made(kind="lsh") == "LSH768"
    assert made(kind="sq8") == "SQ8"


# --- the artifact


def test_the_manifest_says_what_the_index_is(tmp_path):
    manifest = build_and_open(make_embeddings("l2"), tmp_path / "i").manifest
    expected = {"similarity": "l2", "normalized": False, "embeddings": "e", "encoder": "m"}
    expected |= {"count": 500, "dimension": 16, "kind": "flat"}
    assert manifest.items() >= expected.items()


def test_an_index_of_other_embeddings_is_refused(tmp_path):
    index = build_and_open(make_embeddings("dot"), tmp_path / "i")
    index.require_embeddings({"sha256": "e"}, "there")
    with pytest.raises(InputError, match="there: built from other embeddings"):
        index.require_embeddings({"sha256": "f"}, "there")


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:99] + b"x" + b[100:]])
def test_a_damaged_index_is_refused(tmp_path, damage):
    build_and_open(make_embeddings("dot"), tmp_path / "i", kind="ivf")
    path = tmp_path / "i" / "index.faiss"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"index\.faiss: missing or damaged"):
        Index.open(tmp_path / "i")


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw", "sq8"])
def test_more_than_there_is_gives_all(tmp_path, kind):
    embeddings = make_embeddings("cosine", count=5)
    index = build_and_open(embeddings, tmp_path / "i", kind=kind)
    found = search(index, ["q"], embeddings.vectors[:1], 1000)
    assert sorted(found["q"]) == ["d0", "d1", "d2", "d3", "d4"]


def test_what_faiss_does_not_find_is_dropped(tmp_path):
    """FAISS pads with row -1, which would silently be the last passage."""
    index = build_and_open(make_embeddings("cosine"), tmp_path / "i", kind="ivf", nlist=50)
    query = make_embeddings("cosine", count=1, seed=1).vectors
    rows = index.search(query, 500, nprobe=1)[1]
    assert (rows == -1).any()
    found = search(index, ["q"], query, 500, nprobe=1)["q"]
    assert len(found) == (rows >= 0).sum()


# --- the audit


def test_recall_by_hand():
    rows, exact = np.array([[3, 1, 9], [5, -1, -1]]), np.array([[1, 2, 3], [5, 6, 7]])
    assert recall(rows, exact, 3) == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert recall(rows, exact, 1) == pytest.approx(1 / 2)


def test_the_audit_of_a_poor_index(tmp_path):
    embeddings = make_embeddings("cosine", count=1500)
    vectors = make_embeddings("cosine", count=30, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i", kind="ivf", nlist=30)
    exact = exact_search(embeddings, vectors, 1000)[1]
    qrels = {str(q): {f"d{row}": 1 for row in exact[q, :3]} for q in range(30)}
    settings = PARAMS.search.model_copy(update={"nprobe": 1})
    found = audit(index, embeddings, ids(30), vectors, qrels, tmp_path / "i", settings)
    rows = index.search(vectors, 1000, nprobe=1)[1]
    for depth in (10, 100, 1000):
        assert found.metrics[f"recall@{depth}"] == recall(rows, exact, depth)
    size = (tmp_path / "i" / "index.faiss").stat().st_size
    assert found.metrics["bytes_per_vector"] == pytest.approx(size / 1500, abs=0.01)
    # Exact search finds the three relevant ones first, in any order: its nDCG is 1.
    discounts = 1 / np.log2(np.arange(2, 12))
    gains = [np.isin(rows[q, :10], exact[q, :3]) @ discounts for q in range(30)]
    lost = 1 - np.mean(gains) / discounts[:3].sum()
    assert found.metrics["nDCG@10_lost"] == pytest.approx(lost) != 0
    curve = {value: at_10 for _, value, at_10 in found.tradeoff}
    assert list(curve) == [1, 2, 4, 8, 16]
    assert curve[1] == found.metrics["recall@10"] < curve[16]
    with pytest.raises(
        InputError, match=r"there: recall@10 .*min_recall 0\.99: raise search\.nprobe"
    ):
        require(found.metrics, 0.99, "there")
    require(found.metrics, found.metrics["recall@10"], "there")


def test_the_audit_searches_as_a_run_does(tmp_path):
    """Ten passages: a walk with a list of twenty, and no recall@100 of what was not asked for."""
    embeddings = make_embeddings("cosine", count=3000)
    vectors = make_embeddings("cosine", count=40, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i", kind="hnsw", hnsw_m=4, ef_construction=8)
    settings = PARAMS.search.model_copy(update={"top_k": 10})
    found = audit(index, embeddings, ids(40), vectors, {"0": {"d1": 1}}, tmp_path / "i", settings)
    exact = exact_search(embeddings, vectors, 10)[1]
    assert found.metrics["recall@10"] == recall(index.search(vectors, 10, ef=20)[1], exact, 10)
    assert found.metrics["recall@10"] < recall(index.search(vectors, 10, ef=999)[1], exact, 10)
    assert not {"recall@100", "recall@1000"} & found.metrics.keys()


def test_a_list_too_short_for_what_is_asked_is_an_error(tmp_path):
    index = build_and_open(make_embeddings("cosine"), tmp_path / "i", kind="hnsw")
    with pytest.raises(InputError, match="ef_search: a list of 19 cannot hold the 20 passages"):
        index.search(make_embeddings("cosine", count=1).vectors, 20, ef=19)


@pytest.mark.parametrize("factory", ["RR16,IVF16,Flat", "IVF16,Flat,RFlat", "RR16,HNSW16"])
def test_settings_reach_the_index_within(tmp_path, factory):
    embeddings = make_embeddings("cosine", count=1000)
    vectors = make_embeddings("cosine", count=20, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i", kind=factory)
    exact = exact_search(embeddings, vectors, 10)[1]
    assert recall(index.search(vectors, 10, nprobe=16, ef=900)[1], exact, 10) > 0.99
    assert recall(index.search(vectors, 10, nprobe=1, ef=10)[1], exact, 10) < 0.99


def test_a_flat_index_misses_nothing(tmp_path):
    embeddings = make_embeddings("l2")
    vectors = make_embeddings("l2", count=5, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i")
    qrels, folder = {"0": {"d1": 1}}, tmp_path / "i"
    found = audit(index, embeddings, ids(5), vectors, qrels, folder, PARAMS.search).metrics
    assert {found[f"recall@{k}"] for k in (10, 100, 1000)} == {1.0}
    assert found["nDCG@10_lost"] == 0


# --- what cannot be built


@pytest.mark.parametrize(
    ("changes", "count", "message"),
    [
        ({}, 0, "an empty corpus cannot be indexed"),
        ({"kind": "ivf", "nlist": 501}, 500, r"nlist: 501 cells, but there are only 500 passages"),
        ({"kind": "pq"}, 255, r"pq trains 256 centroids, but there are only 255 passages"),
        ({"kind": "ivfpq", "pq_bytes": 5}, 500, r"pq_bytes: 5 does not divide the 16 .*8, 16\]"),
        ({"kind": "no such"}, 500, r"index\.kind: FAISS cannot make 'no such' of 16 dim.*hnsw"),
        ({"kind": "pq", "storage": "float16"}, 500, r"storage: pq stores codes"),
        ({"kind": "IVF600,Flat"}, 500, r"index\.kind: FAISS cannot build 'IVF600,Flat'"),
        ({"kind": "IDMap,Flat"}, 500, r"index\.kind: FAISS cannot build 'IDMap,Flat'"),
        ({"kind": "pq", "train_sample": 99}, 500, r"train_sample: 99 .* 256 centroids"),
        ({"dimension": 17}, 500, r"index\.dimension: 17, but the vectors have 16"),
    ],
)
def test_what_cannot_be_built_is_an_error(changes, count, message):
    with pytest.raises(InputError, match=message):
        build(make_embeddings("cosine", count=count), options(**changes), 0)


def test_l1_is_searched_exactly_or_not_at_all():
    with pytest.raises(InputError, match="similarity l1 has an index of kind flat alone"):
        build(make_embeddings("l1"), options(kind="hnsw"), 0)


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "'d7' has NaN or infinity"), (np.inf, "'d7' has NaN"), (0, "'d7' has length zero")],
)
def test_vectors_that_cannot_be_searched(value, message):
    embeddings = make_embeddings("cosine")
    embeddings.vectors[7] = value
    with pytest.raises(InputError, match=message):
        build(embeddings, options(), 0)


def test_an_id_that_comes_twice_is_an_error():
    embeddings = make_embeddings("cosine")
    embeddings.ids[9] = "d3"
    with pytest.raises(InputError, match="the id 'd3' twice"):
        build(embeddings, options(), 0)


def test_few_vectors_a_cell_are_said_and_built(capsys):
    build(make_embeddings("cosine"), options(kind="ivf", nlist=100), 0)
    assert "index.nlist: 100 cells have 5 vectors each to train on" in capsys.readouterr().err


def test_vectors_of_another_dimension_are_refused(tmp_path):
    index = build_and_open(make_embeddings("dot"), tmp_path / "i")
    with pytest.raises(InputError, match="8 dimensions, but the index was made of vectors of 16"):
        search(index, ["q"], np.zeros((1, 8), np.float32), 3)


def test_a_default_that_does_not_part_the_dimensions_gives_way():
    chosen = kinds.plan(options(kind="pq"), SIMILARITIES["l2"], 1000, 50)
    assert chosen.factory == "PQ10x8"
    chosen = kinds.plan(options(kind="ivfpq", nlist=9), SIMILARITIES["dot"], 1000, 384)
    assert (chosen.factory, chosen.width) == ("IVF9,PQ77x8", 385)


def test_other_ids_or_vectors_than_the_manifest_says_are_refused(tmp_path):
    build_and_open(make_embeddings("dot"), tmp_path / "i")
    (tmp_path / "i/ids.txt").write_text("".join(f"d{i}\n" for i in reversed(range(500))))
    with pytest.raises(InputError, match=r"ids\.txt: not the ids of its manifest"):
        Index.open(tmp_path / "i")
    np.save(tmp_path / "vectors.npy", make_embeddings("dot").vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    manifest = {"similarity": "dot", "sha256": "another"}
    with pytest.raises(InputError, match=r"vectors\.npy: damaged"):
        build(Embeddings(mapped, ids(500), manifest), options(), 0)


def test_threads_are_as_they_were(tmp_path):
    faiss.omp_set_num_threads(2)
    build_and_open(make_embeddings("cosine"), tmp_path / "i", kind="hnsw")
    assert faiss.omp_get_max_threads() == 2
