"""Which encoder may ask which vectors, and what a broken one gives."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import PARAMS

from dpr.base.errors import InputError
from dpr.base.files import read_json, write_json
from dpr.embeddings.artifact import MANIFEST, Embeddings
from dpr.embeddings.passages import encode_passages
from dpr.embeddings.precision import open_for_queries, require_made_by
from dpr.encoders import checkpoint
from dpr.encoders.embedder import Embedder
from dpr.mining.rankers import encoder_ranker
from dpr.records import beir
from dpr.records.corpus import Corpus


def saved(encoder, folder):
    checkpoint.save(encoder, folder)
    return folder


def test_the_passage_side_decides(encode, make_encoder, tmp_path):
    """A query encoder, its prompt and its length change no vector of a passage; weights do."""
    embeddings = encode()
    same = make_encoder(tied=False, query_prefix="query: ", query_max_length=9)
    with torch.no_grad():
        for parameter in same.query.parameters():
            parameter.mul_(2)
    require_made_by(saved(same, tmp_path / "same"), embeddings)
    others = {"pooling": "cls", "passage_prefix": "passage: ", "passage_max_length": 31}
    for key, value in others.items():
        with pytest.raises(InputError, match=r"out: made by a different encoder than .*/changed;"):
            require_made_by(saved(make_encoder(**{key: value}), tmp_path / "changed"), embeddings)


def test_a_weight_decides(encode, make_encoder, tmp_path):
    embeddings, encoder = encode(), make_encoder()
    name, weight = list(encoder.passage.named_parameters())[-3]
    with torch.no_grad():
        weight.view(-1)[0].add_(2**-20)
    with pytest.raises(InputError, match="made by a different encoder"):
        require_made_by(saved(encoder, tmp_path / name), embeddings)


@pytest.mark.parametrize("format", ["int4", 8, None])
def test_a_format_that_nobody_knows(encode, tmp_path, format):
    folder = encode().folder
    write_json(folder / MANIFEST, read_json(folder / MANIFEST) | {"format": format})
    with pytest.raises(InputError, match=r"manifest\.json: 'format' is .*damaged; encode again"):
        embeddings = Embeddings.open(folder)
        opened = tmp_path / "encoder", PARAMS.encode, torch.device("cpu"), tmp_path / "cache"
        open_for_queries(embeddings, *opened)


@pytest.fixture
def embedder(make_encoder, tmp_path):
    checkpoint.save(make_encoder(tied=False), tmp_path / "encoder")
    options = PARAMS.encode.model_copy(update={"precision": "fp32"})
    return Embedder(tmp_path / "encoder", options, torch.device("cpu"), tmp_path / "scratch")


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
    queries = beir.read_queries(collection)
    topics = [queries[query_id] for query_id in ("q9", "q10", "q11")]
    assert np.isfinite(embedder.embed_queries(topics)).all()
    monkeypatch.setattr(embedder, "embed", broken(embedder.embed))
    with pytest.raises(InputError, match="encoder: gives query 'q10' a vector with NaN"):
        embedder.embed_queries(topics)
    made = encode_passages(embedder, Corpus(Path(collection), ". "), tmp_path / "out")
    rank = encoder_ranker(embedder, made, 5, None)
    with pytest.raises(InputError, match="encoder: gives query 'q10' a vector with NaN"):
        rank(topics, {topic.id: ["d00"] for topic in topics})
