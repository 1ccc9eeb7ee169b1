"""Vectors, losses and gradients beside those of sentence-transformers, on the same weights."""

import itertools

import numpy as np
import pytest
import torch
from helpers import POOLINGS, settings
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses

from dpr.base.processes import SINGLE
from dpr.encoders import checkpoint
from dpr.encoders.spec import EncoderSpec
from dpr.similarity import SIMILARITIES
from dpr.training.batch import Batch
from dpr.training.gradients import ActivationBudget, ForwardOptions, forward_backward
from dpr.training.loss import Loss, Targets

TEXTS = ["heart", "the liver and the kidney " * 10, "a study of bone", "eye ear"]
SPEC = EncoderSpec("cosine", "mean", True, 16, 32)


# --- vectors


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


# --- losses

QUERIES = ["heart", "lung", "eye", "ear"]
PASSAGES = ["a study of the heart", "the lung", "the eye and more", "hearing"]
NEGATIVES = ["a hard negative", "and a much longer one about nothing in particular"]


def gradients_of(module):
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def diagonal(queries, passages):
    pairs = torch.stack([torch.arange(queries)] * 2, dim=1)
    return Targets([], [], pairs, torch.eye(queries, passages, dtype=torch.bool))


@pytest.fixture
def compared(make_encoder, tmp_path):
    """One encoder in both libraries, a batch, and our loss of it by settings."""
    encoder = make_encoder()
    checkpoint.save(encoder, tmp_path / "encoder")
    theirs = SentenceTransformer(str(tmp_path / "encoder"), device="cpu").eval()
    features = [theirs.tokenize(QUERIES), theirs.tokenize(PASSAGES)]

    def ours(**changes):
        loss = Loss(encoder.similarity, settings(temperature=1 / 20, **changes))
        return loss(
            encoder(encoder.tokenize(QUERIES, "query"), "query"),
            encoder(encoder.tokenize(PASSAGES, "passage"), "passage"),
            diagonal(4, 4),
        ).item()

    return theirs, features, ours


def test_loss_equals_that_of_sentence_transformers(compared):
    model, features, ours = compared
    expected = losses.MultipleNegativesRankingLoss(model, scale=20.0)(features, None)
    assert ours() == pytest.approx(expected.item(), rel=1e-5)


def test_symmetric_loss_equals_that_of_sentence_transformers(compared):
    model, features, ours = compared
    expected = losses.MultipleNegativesSymmetricRankingLoss(model, scale=20.0)(features, None)
    assert ours(symmetric=True) == pytest.approx(expected.item(), rel=1e-5)


def test_matryoshka_equals_that_of_sentence_transformers(compared):
    model, features, ours = compared
    plain = losses.MultipleNegativesRankingLoss(model, scale=20.0)
    weights = [1 / 3] * 3
    expected = losses.MatryoshkaLoss(model, plain, [32, 16, 8], weights)(features, None)
    assert ours(matryoshka=[8, 16]) == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("margin", [0.0, 0.02])
def test_masking_by_margin_equals_the_self_guided_loss_of_sentence_transformers(compared, margin):
    model, features, ours = compared
    guided = losses.GISTEmbedLoss(
        model,
        model,
        temperature=1 / 20,
        margin=margin,
        contrast_anchors=False,
        contrast_positives=False,
    )
    expected = guided(features, None).item()
    assert ours(false_negative_margin=margin) == pytest.approx(expected, rel=1e-5)
    assert ours() > expected  # something was masked


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_cached_gradients_equal_those_of_sentence_transformers(make_encoder, tmp_path, chunk_size):
    encoder = make_encoder()
    checkpoint.save(encoder, tmp_path / "encoder")
    theirs = SentenceTransformer(str(tmp_path / "encoder"), device="cpu").eval()
    theirs.max_seq_length = 32
    cached = losses.CachedMultipleNegativesRankingLoss(theirs, scale=20.0, mini_batch_size=2)
    columns = [QUERIES[:2], PASSAGES[:2], NEGATIVES]
    loss = cached([theirs.tokenize(texts) for texts in columns], None)
    loss.backward()

    in_batch = Loss(encoder.similarity, settings(temperature=1 / 20))
    queries = encoder.tokenize(QUERIES[:2], "query")
    batch = Batch(queries, encoder.tokenize(PASSAGES[:2] + NEGATIVES, "passage"), diagonal(2, 4))

    def ours(queries, passages):
        return in_batch(queries, passages, batch.targets)

    options = ForwardOptions("fp32", chunk_size, ActivationBudget())
    value = forward_backward(encoder, batch, ours, options, SINGLE)
    assert value.item() == pytest.approx(loss.item(), rel=1e-5)
    ours = gradients_of(encoder.passage.backbone)
    expected = gradients_of(theirs[0].auto_model)
    assert {n for n in expected if "pooler" not in n} == ours.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-5, rtol=1e-4)
