"""Losses over a pair's own passages beside those of sentence-transformers, with their gradients."""

import pytest
import torch
from helpers import settings
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses

from dpr.base.processes import SINGLE
from dpr.encoders import checkpoint
from dpr.training.batch import Batch, SampledPair, passages_of, targets_of
from dpr.training.gradients import ActivationBudget, ForwardOptions, forward_backward
from dpr.training.loss import Loss

QUERIES = ["heart", "lung", "eye"]
POSITIVES = ["a study of the heart", "the lung", "the eye and more"]
NEGATIVES = [  # two of each query
    ["a hard negative", "bones and muscles", "hearing"],
    ["and a much longer one about nothing in particular", "liver and kidney", "skin"],
]
COLUMNS = [QUERIES, POSITIVES, *NEGATIVES]
SCORES = torch.tensor([[0.9, 0.4, -0.3], [0.2, 0.6, 0.1], [1.1, 0.8, 0.7]])  # of a teacher


@pytest.fixture
def compared(make_encoder, tmp_path):
    """compared(chunk_size=..., KEY=...) -> our loss and gradients, and their model."""
    encoder = make_encoder()
    checkpoint.save(encoder, tmp_path / "encoder")
    theirs = SentenceTransformer(str(tmp_path / "encoder"), device="cpu").eval()
    theirs.max_seq_length = 32
    pairs = [
        SampledPair(*row) for row in zip(*COLUMNS[:2], zip(*NEGATIVES, strict=True), strict=True)
    ]
    passages = passages_of(pairs)
    given = {
        query: dict(zip((own, *others), scores, strict=True))
        for (query, own, others), scores in zip(pairs, SCORES.tolist(), strict=True)
    }
    targets = targets_of(pairs, passages, lambda query: (), given.__getitem__)

    def ours(chunk_size=None, **changes):
        loss = Loss(encoder.similarity, settings(**changes))
        tokens = encoder.tokenize(QUERIES, "query"), encoder.tokenize(passages, "passage")

        def of_vectors(queries, passages):
            return loss(queries, passages, targets)

        encoder.zero_grad()
        batch = Batch(*tokens, targets)
        options = ForwardOptions("fp32", chunk_size, ActivationBudget())
        value = forward_backward(encoder, batch, of_vectors, options, SINGLE)
        return value.item(), gradients_of(encoder.passage.backbone)

    return theirs, ours


def gradients_of(module):
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def require_same(ours, value, theirs, factor=1.0):
    """`factor` times their loss and gradients are ours."""
    loss, gradients = ours
    assert loss == pytest.approx(factor * value.item(), rel=1e-4)
    value.backward()
    expected = gradients_of(theirs[0].auto_model)
    assert {n for n in expected if "pooler" not in n} == gradients.keys()
    largest = max(gradient.abs().max() for gradient in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            gradient, factor * expected[name], atol=1e-5 * largest.item(), rtol=1e-3
        )


def features(model, columns=COLUMNS):
    return [model.tokenize(texts) for texts in columns]


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize(("student", "teacher"), [(1.0, 1.0), (0.05, 0.2), (0.5, 0.1)])
def test_kl_equals_that_of_sentence_transformers(compared, student, teacher, chunk_size):
    """But for their factor of the temperature squared."""
    theirs, ours = compared
    found = ours(
        chunk_size,
        teacher_share=1.0,
        teacher_loss="kl",
        temperature=student,
        teacher_temperature=teacher,
    )
    loss = losses.DistillKLDivLoss(theirs, student_temperature=student, teacher_temperature=teacher)
    value = loss(features(theirs), SCORES)
    assert value > 0
    require_same(found, value, theirs, factor=1 / student**2)


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_margin_mse_equals_that_of_sentence_transformers(compared, chunk_size):
    """The scores of their default are dot products: of vectors of norm 1, cosines."""
    theirs, ours = compared
    found = ours(chunk_size, teacher_share=1.0, teacher_loss="margin_mse", temperature=0.3)
    value = losses.MarginMSELoss(theirs)(features(theirs), SCORES)
    require_same(found, value, theirs)


def test_without_in_batch_negatives_each_pair_is_a_batch_of_its_own(compared):
    theirs, ours = compared
    found = ours(in_batch_negatives=False, temperature=1 / 20)
    ranking = losses.MultipleNegativesRankingLoss(theirs, scale=20.0)
    alone = [
        ranking(features(theirs, [texts[i : i + 1] for texts in COLUMNS]), None) for i in range(3)
    ]
    require_same(found, torch.stack(alone).mean(), theirs)
    assert ours(temperature=1 / 20)[0] > found[0]


def test_a_share_of_the_loss_is_that_of_the_teacher(compared):
    theirs, ours = compared
    chosen = {"temperature": 0.05, "teacher_temperature": 0.1}
    found = ours(teacher_share=0.3, in_batch_negatives=False, **chosen)
    kl = losses.DistillKLDivLoss(theirs, student_temperature=0.05, teacher_temperature=0.1)
    ranking = losses.MultipleNegativesRankingLoss(theirs, scale=20.0)
    alone = [
        ranking(features(theirs, [texts[i : i + 1] for texts in COLUMNS]), None) for i in range(3)
    ]
    taught = kl(features(theirs), SCORES) / 0.05**2
    require_same(found, 0.7 * torch.stack(alone).mean() + 0.3 * taught, theirs)
