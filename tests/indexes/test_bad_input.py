"""What cannot be indexed is an error that says why, or is said and built."""

import faiss
import numpy as np
import pytest
from index_helpers import build_and_open, ids, make_embeddings, options, search

from dpr.base.errors import InputError
from dpr.embeddings.artifact import Embeddings
from dpr.indexes import kinds
from dpr.indexes.build import build
from dpr.similarity import SIMILARITIES


@pytest.mark.parametrize(
    ("changes", "count", "message"),
    [
        ({}, 0, "an empty corpus cannot be indexed"),
        ({"kind": "ivf", "nlist": 501}, 500, r"nlist: 501 cells, but there are only 500 passages"),
        ({"kind": "pq"}, 255, r"pq trains 256 centroids, but there are only 255 passages"),
        ({"kind": "ivfpq", "pq_bytes": 5}, 500, r"pq_bytes: 5 does not divide the 16 .*8, 16\]"),
        ({"kind": "no such"}, 500, r"index\.kind: FAISS cannot make 'no such' of 16 dim.*hnsw"),
        ({"kind": "pq", "storage": "float16"}, 500, r"storage: pq stores codes"),
        ({"storage": "float16"}, 500, r"storage: flat stores nothing; set encode\.dtype float16"),
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
    with pytest.raises(InputError, match="similarity l1 needs kind flat"):
        build(make_embeddings("l1"), options(kind="hnsw"), 0)


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "'d7' has NaN or infinity"), (np.inf, "'d7' has NaN"), (0, "'d7' has norm 0")],
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


def test_few_vectors_a_cell_are_only_noted(capsys):
    build(make_embeddings("cosine"), options(kind="ivf", nlist=100), 0)
    assert "index.nlist: 100 cells have 5 vectors each to train on" in capsys.readouterr().err


def test_vectors_of_another_dimension_are_refused(tmp_path):
    index = build_and_open(make_embeddings("dot"), tmp_path / "i")
    with pytest.raises(InputError, match="8 dimensions, but the index was made from vectors of 16"):
        search(index, ["q"], np.zeros((1, 8), np.float32), 3)


def test_the_default_of_pq_bytes_divides_the_dimensions():
    chosen = kinds.plan(options(kind="pq"), SIMILARITIES["l2"], 1000, 50)
    assert chosen.factory == "PQ10x8"
    chosen = kinds.plan(options(kind="ivfpq", nlist=9), SIMILARITIES["dot"], 1000, 384)
    assert (chosen.factory, chosen.width) == ("IVF9,PQ97x8", 388)


def test_other_vectors_than_the_manifest_says_are_refused(tmp_path):
    np.save(tmp_path / "vectors.npy", make_embeddings("dot").vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    manifest = {"similarity": "dot", "sha256": "another"}
    with pytest.raises(InputError, match=r"vectors\.npy: damaged"):
        build(Embeddings(mapped, ids(500), manifest), options(), 0)


def test_threads_are_restored(tmp_path):
    faiss.omp_set_num_threads(2)
    build_and_open(make_embeddings("cosine"), tmp_path / "i", kind="hnsw")
    assert faiss.omp_get_max_threads() == 2
