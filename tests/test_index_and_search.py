import numpy as np
import pytest

from dpr import index as index_module
from dpr.embeddings import Embeddings
from dpr.errors import InputError
from dpr.index import Index
from dpr.search import search
from dpr.similarity import SIMILARITIES


def make_embeddings(similarity, count=500, dimension=16, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, dimension)).astype(dtype) * rng.uniform(0.5, 2, (count, 1))
    if SIMILARITIES[similarity].normalize:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    manifest = {"similarity": similarity, "sha256": "e", "encoder": {"sha256": "m"}}
    return Embeddings(vectors.astype(dtype), [f"d{i}" for i in range(count)], manifest)


def build_and_open(embeddings, folder, dimension=None):
    index_module.save(index_module.build(embeddings, dimension), embeddings, "flat", folder)
    return Index.open(folder)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_flat_search_equals_numpy(tmp_path, monkeypatch, similarity, dtype):
    monkeypatch.setattr(index_module, "CHUNK", 64)  # several chunks
    embeddings = make_embeddings(similarity, dtype=dtype)
    queries = make_embeddings(similarity, count=7, seed=1).vectors
    found = search(build_and_open(embeddings, tmp_path / "i"), list("abcdefg"), queries, 20)
    passages = embeddings.vectors.astype(np.float64)
    for query_id, query in zip("abcdefg", queries.astype(np.float64), strict=True):
        scores = -((passages - query) ** 2).sum(1) if similarity == "l2" else passages @ query
        best = np.argsort(-scores)[:20]
        assert list(found[query_id]) == [f"d{i}" for i in best]
        np.testing.assert_allclose(list(found[query_id].values()), scores[best], rtol=1e-4)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_vectors_can_be_cut(tmp_path, similarity):
    embeddings = make_embeddings(similarity)
    queries = make_embeddings(similarity, count=3, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i", dimension=4)
    assert index.manifest["dimension"] == 4
    found = search(index, list("abc"), queries, 20)
    passages, queries = embeddings.vectors[:, :4].astype(np.float64), queries[:, :4]
    if similarity == "cosine":
        passages = passages / np.linalg.norm(passages, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    for query_id, query in zip("abc", queries, strict=True):
        scores = -((passages - query) ** 2).sum(1) if similarity == "l2" else passages @ query
        best = np.argsort(-scores)[:20]
        assert list(found[query_id]) == [f"d{i}" for i in best]
        np.testing.assert_allclose(list(found[query_id].values()), scores[best], rtol=1e-4)


def test_vectors_cannot_be_cut_to_more_than_they_have():
    with pytest.raises(InputError, match=r"index\.dimension: 17, but the vectors have 16"):
        index_module.build(make_embeddings("dot"), 17)


def test_more_than_there_is_gives_all(tmp_path):
    embeddings = make_embeddings("dot", count=5)
    found = search(build_and_open(embeddings, tmp_path / "i"), ["q"], embeddings.vectors[:1], 1000)
    assert sorted(found["q"]) == ["d0", "d1", "d2", "d3", "d4"]


def test_what_faiss_does_not_find_is_dropped(tmp_path):
    """FAISS pads with row -1, which would silently be the last passage."""
    index = build_and_open(make_embeddings("dot", count=5), tmp_path / "i")

    class FindsTwo:
        d, ntotal = 16, 5

        def search(self, vectors, k):
            return np.array([[3.0, 2.0, -3e38]], np.float32), np.array([[1, 4, -1]])

    found = search(Index(FindsTwo(), index.ids, index.manifest), ["q"], np.zeros((1, 16)), 3)
    assert found == {"q": {"d1": 3.0, "d4": 2.0}}


def test_the_manifest_says_what_the_index_is(tmp_path):
    manifest = build_and_open(make_embeddings("l2"), tmp_path / "i").manifest
    assert manifest["similarity"] == "l2"
    assert manifest["embeddings"] == "e"
    assert (manifest["count"], manifest["dimension"], manifest["kind"]) == (500, 16, "flat")


def test_the_same_vectors_are_the_same_bytes(tmp_path):
    embeddings = make_embeddings("cosine")
    build_and_open(embeddings, tmp_path / "a")
    build_and_open(embeddings, tmp_path / "b")
    a, b = ((tmp_path / name / "index.faiss").read_bytes() for name in "ab")
    assert a == b


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:99] + b"x" + b[100:]])
def test_a_damaged_index_is_refused(tmp_path, damage):
    build_and_open(make_embeddings("dot"), tmp_path / "i")
    path = tmp_path / "i" / "index.faiss"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"index\.faiss: missing or damaged"):
        Index.open(tmp_path / "i")


def test_vectors_of_another_dimension_are_refused(tmp_path):
    index = build_and_open(make_embeddings("dot"), tmp_path / "i")
    with pytest.raises(InputError, match="8 dimensions, but the index was made of vectors of 16"):
        search(index, ["q"], np.zeros((1, 8), np.float32), 3)
