"""The cost of a number format, against brute force over the same pool."""

import numpy as np
import pytest
import torch
from helpers import PARAMS

from dpr import measures
from dpr.embeddings import precision
from dpr.embeddings.artifact import Embeddings
from dpr.embeddings.passages import encode_passages
from dpr.encoders import checkpoint
from dpr.encoders.embedder import Embedder
from dpr.records import beir
from dpr.records.corpus import Corpus


@pytest.fixture
def cost_of(make_encoder, collection, tmp_path):
    checkpoint.save(make_encoder(), tmp_path / "encoder")

    def cost(wanted):
        options = PARAMS.encode.model_copy(update={"precision": wanted})
        scratch, corpus = tmp_path / "scratch", Corpus(collection, ". ")
        embedder = Embedder(tmp_path / "encoder", options, torch.device("cpu"), 1, scratch)
        encode_passages(embedder, corpus, options, tmp_path / wanted, scratch)
        embeddings, queries = Embeddings.open(tmp_path / wanted), beir.read_queries(collection)
        qrels = beir.read_qrels(collection, "test")
        return embedder, precision.precision_cost(embedder, embeddings, corpus, queries, qrels)

    return cost


def test_fp32_costs_nothing(cost_of):
    _, cost = cost_of("fp32")
    assert cost["format"] == "fp32"
    assert cost["cosine_to_fp32"] == pytest.approx({"least": 1, "mean": 1})
    assert cost["pool_nDCG@10_lost"] == 0


def test_int8_costs_what_brute_force_says(cost_of, collection, tmp_path):
    """The collection has fewer passages than the pool, so the pool is all of it."""
    embedder, cost = cost_of("int8")
    corpus, qrels = Corpus(collection, ". "), beir.read_qrels(collection, "test")
    queries, texts = beir.read_queries(collection), dict(corpus.texts())
    ndcg, vectors = [], []
    for used in (embedder, embedder.in_fp32()):
        passages = used.embed_texts(list(texts.values()), "passage")
        run = {}
        for query_id in qrels:
            scores = passages @ used.embed_texts([queries[query_id].text], "query")[0]
            run[query_id] = dict(zip(texts, scores.tolist(), strict=True))
        ndcg.append(measures.headline(qrels, run))
        vectors.append(passages)
    cosines = (vectors[0] * vectors[1]).sum(axis=1)
    assert cost["format"] == "int8"
    assert cost["cosine_to_fp32"]["least"] == pytest.approx(cosines.min(), abs=1e-5)
    assert cost["cosine_to_fp32"]["mean"] == pytest.approx(np.mean(cosines), abs=1e-5)
    assert cost["cosine_to_fp32"]["least"] < 0.99999
    assert cost["pool_nDCG@10_lost"] == pytest.approx(ndcg[1] - ndcg[0], abs=1e-6)
