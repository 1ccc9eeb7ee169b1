"""pyserini's own searcher on an exported index."""

import numpy as np
import pytest
from helpers import PARAMS
from index_helpers import build_and_open, make_embeddings

from dpr.bm25.java import start_java
from dpr.indexes.export import to_pyserini


@pytest.fixture(scope="module")
def faiss_searcher():
    start_java()  # importing pyserini needs one
    from pyserini.search.faiss import FaissSearcher

    return FaissSearcher


@pytest.mark.parametrize(
    ("similarity", "kind"),
    [("cosine", "flat"), ("cosine", "ivf"), ("cosine", "hnsw"), ("dot", "flat"), ("l2", "hnsw")],
)
def test_pyserini_finds_the_same_with_the_same_scores(tmp_path, faiss_searcher, similarity, kind):
    index = build_and_open(make_embeddings(similarity), tmp_path / "index", kind=kind, mapped=False)
    queries = make_embeddings(similarity, count=5, seed=1).vectors
    scores, rows = index.search(queries, 20)
    to_pyserini(index, tmp_path / "exported", PARAMS.search)
    searcher = faiss_searcher(str(tmp_path / "exported"), query_encoder=object())
    for query, best, found in zip(queries, scores, rows, strict=True):
        hits = searcher.search(query[None], k=20)
        assert [hit.docid for hit in hits] == [index.embeddings.ids[row] for row in found]
        theirs = np.array([hit.score for hit in hits])
        np.testing.assert_allclose(-theirs if similarity == "l2" else theirs, best, rtol=1e-5)
