"""Which encoder may query which vectors, and what a broken one gives."""

import numpy as np
import pytest
import torch
from helpers import PARAMS

from dpr.base.errors import InputError
from dpr.base.files import read_json, write_json
from dpr.embeddings.artifact import MANIFEST, Embeddings
from dpr.embeddings.precision import open_for_queries, require_made_by
from dpr.encoders import checkpoint
from dpr.mining.rankers import encoder_ranker
from dpr.records import beir


def test_the_passage_side_decides(encode, make_encoder, tmp_path):
    """A query encoder, its prompt and its length change no vector of a passage; weights do."""

    def require(encoder):
        checkpoint.save(encoder, tmp_path / "changed")
        require_made_by(tmp_path / "changed", embeddings)

    embeddings = encode()
    same = make_encoder(tied=False, query_prefix="query: ", query_max_length=9)
    with torch.no_grad():
        for parameter in same.query.parameters():
            parameter.mul_(2)
    require(same)
    different = {"pooling": "cls", "passage_prefix": "passage: ", "passage_max_length": 31}
    encoders = [make_encoder(**{key: value}) for key, value in different.items()]
    encoders.append(make_encoder())
    with torch.no_grad():
        list(encoders[-1].passage.parameters())[-3].view(-1)[0].add_(2**-20)
    for encoder in encoders:
        with pytest.raises(InputError, match=r"out: made by a different encoder than .*/changed;"):
            require(encoder)


@pytest.mark.parametrize("number_format", ["int4", 8])
def test_an_unknown_format(encode, tmp_path, number_format):
    folder = encode().folder
    write_json(folder / MANIFEST, read_json(folder / MANIFEST) | {"format": number_format})
    with pytest.raises(InputError, match=r"manifest\.json: 'format' is .*damaged; encode again"):
        open_for_queries(
            *(Embeddings.open(folder), tmp_path / "encoder", PARAMS.encode),
            *(torch.device("cpu"), tmp_path / "scratch"),
        )


def test_a_query_vector_with_nan_is_an_error_that_names_the_query(encode, collection, monkeypatch):
    embeddings, embedder = encode(), encode.embedder
    queries = beir.read_queries(collection)
    topics = [queries[query_id] for query_id in ("q9", "q10", "q11")]
    assert np.isfinite(embedder.embed_queries(topics)).all()
    embed = embedder.embed

    def broken(tokens, role):  # as of a query encoder that diverged
        vectors = embed(tokens, role)
        vectors[1] = np.nan
        return vectors

    monkeypatch.setattr(embedder, "embed", broken)
    with pytest.raises(InputError, match="encoder: gives query 'q10' a vector with NaN"):
        embedder.embed_queries(topics)
    rank = encoder_ranker(embedder, embeddings, 5, None)
    with pytest.raises(InputError, match="encoder: gives query 'q10' a vector with NaN"):
        rank(topics, {topic.id: ["d00"] for topic in topics})
