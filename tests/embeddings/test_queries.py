"""Topics as vectors, and what a broken encoder gives."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import PARAMS

from dpr.base.errors import InputError
from dpr.embeddings.passages import encode_passages
from dpr.embeddings.queries import embed_topics
from dpr.encoders import checkpoint
from dpr.encoders.embedder import Embedder
from dpr.mining.rankers import encoder_ranker
from dpr.records import beir
from dpr.records.corpus import Corpus


@pytest.fixture
def embedder(make_encoder, tmp_path):
    checkpoint.save(make_encoder(tied=False), tmp_path / "encoder")
    options = PARAMS.encode.model_copy(update={"precision": "fp32"})
    return Embedder(tmp_path / "encoder", options, torch.device("cpu"), 1, tmp_path / "scratch")


def broken(embed):
    """NaN in the vector of the second query, as of a query encoder that diverged."""

    def embedded(tokens, role, *rest):
        vectors = embed(tokens, role, *rest)
        vectors[1:2] = np.nan if role == "query" else vectors[1:2]
        return vectors

    return embedded


def test_a_query_vector_with_nan_is_an_error_that_names_the_query(
    embedder, collection, tmp_path, monkeypatch
):
    topics = ["q9", "q10", "q11"]
    assert np.isfinite(embed_topics(embedder, collection, topics)).all()
    monkeypatch.setattr(embedder, "embed", broken(embedder.embed))
    with pytest.raises(InputError, match="encoder: gives query 'q10' a vector with NaN"):
        embed_topics(embedder, collection, topics)
    corpus, scratch = Corpus(Path(collection), ". "), tmp_path / "work"
    made = encode_passages(embedder, corpus, PARAMS.encode, tmp_path / "out", scratch)
    queries = beir.read_queries(collection)
    rank = encoder_ranker(embedder, made, 5, None)
    with pytest.raises(InputError, match="encoder: gives query 'q10' a vector with NaN"):
        rank([queries[topic] for topic in topics], {topic: ["d00"] for topic in topics})
