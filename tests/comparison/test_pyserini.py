"""pyserini's own searchers and feedback, on the same vectors and the same index."""

import numpy as np
import pytest
from helpers import PARAMS
from index_helpers import asked, build_and_open, make_embeddings, make_queries

from dpr.bm25 import lucene
from dpr.bm25.java import start_java
from dpr.indexes.export import to_pyserini
from dpr.indexes.feedback import with_feedback
from dpr.records.types import Query
from dpr.settings import Rm3Settings


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


@pytest.mark.parametrize("method", ["mean", "rocchio"])
def test_pyserini_moves_the_queries_to_the_same_place(tmp_path, faiss_searcher, method):
    from pyserini.search.faiss import DenseVectorAveragePrf, DenseVectorRocchioPrf
    from pyserini.search.faiss._prf import PrfDenseSearchResult

    index, queries = build_and_open(make_embeddings("dot"), tmp_path), make_queries("dot", 6)
    chosen = {"method": method, "passages": 5, "alpha": 0.7, "beta": 0.2}
    feedback = PARAMS.search.feedback.model_copy(update=chosen)
    settings = PARAMS.search.model_copy(update={"top_k": 20, "feedback": feedback})
    theirs = DenseVectorAveragePrf()
    if method == "rocchio":
        theirs = DenseVectorRocchioPrf(alpha=0.7, beta=0.2, gamma=0, topk=5, bottomk=0)
    scores, rows = index.search(queries, 5)
    found = {
        query.id: [
            PrfDenseSearchResult(index.embeddings.ids[row], score, index.embeddings.vectors[row])
            for score, row in zip(*ranked, strict=True)
        ]
        for query, *ranked in zip(asked(6), scores, rows, strict=True)
    }
    expected = theirs.get_batch_prf_q_emb(list(found), queries, found)
    moved = with_feedback(index, asked(6), queries, settings)
    np.testing.assert_allclose(moved, expected, rtol=1e-5)


@pytest.mark.parametrize(("terms", "passages", "weight"), [(10, 10, 0.5), (3, 5, 0.2), (5, 2, 0.9)])
def test_pyserini_finds_the_same_by_rm3(tmp_path, faiss_searcher, terms, passages, weight):
    from pyserini.search.lucene import LuceneSearcher

    rng = np.random.default_rng(0)
    words = np.array([f"word{n}" for n in range(200)])
    texts = [(f"d{n}", " ".join(rng.choice(words, 12))) for n in range(300)]
    lucene.build_index(texts, tmp_path / "index", term_vectors=True)
    queries = [Query(f"q{n}", " ".join(rng.choice(words, 2))) for n in range(20)]
    rm3 = Rm3Settings(use=True, terms=terms, passages=passages, weight=weight)
    ours = lucene.search(tmp_path / "index", queries, 0.9, 0.4, 50, 2, rm3=rm3)
    searcher = LuceneSearcher(str(tmp_path / "index"))
    searcher.set_bm25(0.9, 0.4)
    searcher.set_rm3(terms, passages, weight)
    for query in queries:
        hits = {hit.docid: np.float32(hit.score) for hit in searcher.search(query.text, 50)}
        assert ours[query.id] == hits
    plain = lucene.search(tmp_path / "index", queries, 0.9, 0.4, 50, 2)
    assert all(list(ours[query.id]) != list(plain[query.id]) for query in queries)
