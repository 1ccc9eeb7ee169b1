"""Vectors beside those of sentence-transformers, on the same weights."""

import itertools

import numpy as np
import pytest
from helpers import POOLINGS
from sentence_transformers import SentenceTransformer

from dpr.encoders import checkpoint
from dpr.similarity import SIMILARITIES

TEXTS = ["heart", "the liver and the kidney " * 10, "a study of bone", "eye ear"]


@pytest.mark.parametrize(
    ("pooling", "similarity", "tied"),
    [
        *itertools.product(POOLINGS, ["cosine"], [True, False]),
        *(("mean", similarity, True) for similarity in SIMILARITIES if similarity != "cosine"),
    ],
)
def test_sentence_transformers_gives_the_same_vectors(
    make_encoder, tmp_path, pooling, similarity, tied
):
    encoder = make_encoder(pooling=pooling, similarity=similarity, tied=tied)
    checkpoint.save(encoder, tmp_path / "encoder")
    theirs = SentenceTransformer(str(tmp_path / "encoder"), device="cpu")
    passages = encoder.embed(encoder.tokenize(TEXTS, "passage"), "passage", 64, "fp32")
    np.testing.assert_allclose(theirs.encode_document(TEXTS), passages, atol=2e-6)
    short = [TEXTS[0], TEXTS[2]]
    queries = encoder.embed(encoder.tokenize(short, "query"), "query", 64, "fp32")
    np.testing.assert_allclose(theirs.encode_query(short), queries, atol=2e-6)
    assert theirs.similarity_fn_name == {"l2": "euclidean", "l1": "manhattan"}.get(
        similarity, similarity
    )
