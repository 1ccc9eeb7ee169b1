"""pyserini's own searcher on an exported index."""

import numpy as np
import pytest
from helpers import PARAMS
from index_helpers import build_and_open, make_embeddings

from dpr import lucene
from dpr.errors import InputError
from dpr.indexes.export import to_pyserini


@pytest.fixture(scope="module")
def faiss_searcher():
    lucene.start_java()  # importing pyserini wants one
    from pyserini.search.faiss import FaissSearcher

    return FaissSearcher


@pytest.mark.parametrize(
    ("similarity", "kind"),
    [("cosine", "flat"), ("cosine", "ivf"), ("cosine", "hnsw"), ("dot", "flat"), ("l2", "hnsw")],
)
def test_pyserini_finds_the_same_with_the_same_scores(tmp_path, faiss_searcher, similarity, kind):
    index = build_and_open(make_embeddings(similarity), tmp_path / "index", kind=kind)
    queries = make_embeddings(similarity, count=5, seed=1).vectors
    scores, rows = index.search(queries, 20)
    to_pyserini(index, tmp_path / "exported", PARAMS.search)
    searcher = faiss_searcher(str(tmp_path / "exported"), query_encoder=object())
    for query, best, found in zip(queries, scores, rows, strict=True):
        hits = searcher.search(query[None], k=20)
        assert [hit.docid for hit in hits] == [index.ids[row] for row in found]
        theirs = np.array([hit.score for hit in hits])
        np.testing.assert_allclose(-theirs if similarity == "l2" else theirs, best, rtol=1e-5)


def test_an_export_replaces_an_export_and_nothing_else(tmp_path):
    index = build_and_open(make_embeddings("cosine"), tmp_path / "index")
    (tmp_path / "own").mkdir()
    (tmp_path / "own/thesis.txt").write_text("years of work")
    for taken in (tmp_path / "own", tmp_path / "own/thesis.txt"):
        with pytest.raises(InputError, match="holds other things than an export"):
            to_pyserini(index, taken, PARAMS.search)
    assert (tmp_path / "own/thesis.txt").read_text() == "years of work"
    for _ in range(2):
        to_pyserini(index, tmp_path / "exported", PARAMS.search)
    assert sorted(path.name for path in (tmp_path / "exported").iterdir()) == ["docid", "index"]


@pytest.mark.parametrize(
    ("similarity", "changes", "message"),
    [
        ("dot", {"kind": "hnsw"}, "compares dot products as distances"),
        ("cosine", {"kind": "lsh"}, "bits that differ"),
        ("cosine", {"dimension": 8}, "does not cut its queries"),
    ],
)
def test_what_pyserini_could_not_score_is_refused(tmp_path, similarity, changes, message):
    index = build_and_open(make_embeddings(similarity), tmp_path / "index", **changes)
    with pytest.raises(InputError, match=message):
        to_pyserini(index, tmp_path / "exported", PARAMS.search)
    assert not (tmp_path / "exported").exists()
