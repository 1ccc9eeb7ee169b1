"""Runs over documents that are cut: MaxP written out in NumPy, for exact and approximate search."""

import numpy as np
import pytest
from helpers import PARAMS
from index_helpers import build_and_open, make_embeddings, make_queries

from dpr.bm25 import lucene
from dpr.embeddings.artifact import Embeddings
from dpr.records import documents
from dpr.records.documents import as_documents, document_of, id_of_passage, search_documents
from dpr.records.run import Run
from dpr.records.types import Query

# "!" and '"' precede "#" in ASCII, so these do not order as their passages do.
NAMES = ["D", "D!", 'D"', "D#0", "D#1", "E", "é"]


def names(count):
    return (NAMES + [f"doc{n}" for n in range(count)])[:count]


def cut_in(of_documents):
    """The ids of passages, from the number of passages of each document."""
    every = zip(names(len(of_documents)), of_documents, strict=True)
    return [id_of_passage(name, n) for name, count in every for n in range(count)]


def maxp(ids, scores, top_k):
    """(id, score) of the best documents of one topic, in trec_eval's order."""
    best = {}
    for passage_id, score in zip(ids, scores, strict=True):
        document = passage_id[: passage_id.rindex("#")]
        best[document] = max(float(score), best.get(document, -np.inf))
    return sorted(best.items(), key=lambda item: (item[1], item[0]), reverse=True)[:top_k]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("top_k", [1, 5, 1000])
@pytest.mark.parametrize("every", [False, True])
def test_maxp_is_exact_at_any_depth(seed, ties, top_k, every, monkeypatch):
    """Some documents have many good passages, so that the first search is too shallow."""
    rng = np.random.default_rng(seed)
    ids = cut_in(rng.choice([1, 2, 40], 30))
    scores = rng.normal(size=(9, len(ids))).astype(np.float32)
    scores += rng.normal(size=30).astype(np.float32)[[names(30).index(document_of(p)) for p in ids]]
    if ties:
        scores = np.round(scores)
    asked, depths = [f"q{n}" for n in range(9)], []

    def search(topics, depth):
        depths.append(depth)
        found = {}
        for t in topics:  # the best, and of ties the largest ids
            order = sorted(range(len(ids)), key=lambda i: (scores[t, i], ids[i]), reverse=True)
            found[asked[t]] = {ids[i]: scores[t, i] for i in order[:depth]}
        return Run.of(found)

    if every:
        monkeypatch.setattr(documents, "AT_ONCE", 3 * len(ids))  # some topics at a time
    found = search_documents(search, asked, top_k, len(ids), every)
    assert every == any(len(set(map(document_of, found[q]))) < len(found[q]) for q in asked)
    run = as_documents(found, top_k)
    assert list(run) == asked
    for topic, query_id in enumerate(asked):
        assert list(run[query_id].items()) == maxp(ids, scores[topic], top_k)
    assert depths[0] == min(documents.DEEPER * top_k, len(ids)) and depths == sorted(depths)
    assert top_k != 5 or len(depths) > 1


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
@pytest.mark.parametrize("rescore", [None, 20])
def test_an_index_ranks_documents_by_their_best_passage(tmp_path, kind, rescore):
    """hnsw and ivf find everything here, so all three equal brute force."""
    plain = make_embeddings("cosine", count=300)
    ids = cut_in([1, 5] * 50)
    embeddings = Embeddings(plain.vectors, ids, plain.manifest)
    queries = make_queries("cosine", 5)
    changes = {"hnsw": {"hnsw_m": 64}, "ivf": {"nlist": 4}}.get(kind, {})
    index = build_and_open(embeddings, tmp_path / "i", kind=kind, **changes)
    options = PARAMS.search.model_copy(update={"nprobe": 4, "ef_search": 15, "rescore": rescore})
    asked = [str(n) for n in range(5)]
    run = as_documents(index.search_documents(asked, queries, 12, options), 12)
    for query_id, scores in zip(asked, queries @ plain.vectors.T, strict=True):
        expected = maxp(ids, scores, 12)
        assert list(run[query_id]) == [document for document, _ in expected]
        np.testing.assert_allclose([*run[query_id].values()], [s for _, s in expected], rtol=1e-4)


def test_bm25_ranks_documents_by_their_best_passage(tmp_path):
    texts = {"a#0": "lung", "a#1": "lung heart", "b#0": "heart", "c#0": "bone", "b#1": "lung lung"}
    lucene.build_index(texts.items(), tmp_path / "index")
    queries = [Query("q", "lung"), Query("none", "xyzzy"), Query("r", "bone")]
    passages = lucene.search(tmp_path / "index", queries, 0.9, 0.4, 10, 1)
    found = lucene.search_documents(tmp_path / "index", queries, 0.9, 0.4, 1, 1)
    assert next(iter(found["q"])) == "b#1" and found["none"] == {}
    run = as_documents(lucene.search_documents(tmp_path / "index", queries, 0.9, 0.4, 9, 1), 9)
    assert run["q"] == {"b": passages["q"]["b#1"], "a": passages["q"]["a#0"]}
    assert list(run["r"]) == ["c"]


def test_no_topics_and_no_results():
    assert search_documents(lambda topics, depth: None, [], 5, 10) == {}
    assert as_documents(Run.of({"q": {}}), 5) == {"q": {}}
