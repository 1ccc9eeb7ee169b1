"""Encoding the tiny collection with a tiny encoder."""

import pytest
import torch

from dpr.embeddings.passages import encode_part, encode_passages
from dpr.encoders import checkpoint
from dpr.encoders.embedder import Embedder
from dpr.records.corpus import Corpus
from dpr.settings import EncodeSettings


def options(**changes):
    values = {"window": 16, "batch_tokens": 128, "precision": "fp32", "dtype": "float32"} | changes
    return EncodeSettings(**values)


@pytest.fixture
def encode(make_encoder, collection, tmp_path):
    source = tmp_path / "encoder"
    checkpoint.save(make_encoder(), source)
    cpu = torch.device("cpu")

    def run(name="out", spoil=lambda embed: embed, part=None, **changes):
        """`spoil` may replace the embedder's own `embed`; `part` is (part, parts)."""
        folder, chosen = tmp_path / name, options(**changes)
        embedder = Embedder(source, chosen, cpu, tmp_path / "scratch")
        run.embedder = embedder
        embedder.embed = spoil(embedder.embed)
        corpus = Corpus(collection, ". ")
        if part:
            return encode_part(embedder, corpus, folder, *part)
        return encode_passages(embedder, corpus, folder)

    run.encoder = checkpoint.load(source)
    return run


@pytest.fixture
def embeddings_folder(encode):
    """Encoded passages; tests damage one file of them."""
    return encode().folder
