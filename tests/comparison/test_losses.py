"""Losses beside those of sentence-transformers on the same weights, with their gradients."""

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
PAIRS, TRIPLES = [QUERIES, POSITIVES], [QUERIES, POSITIVES, *NEGATIVES]
SCORES = torch.tensor([[0.9, 0.4, -0.3], [0.2, 0.6, 0.1], [1.1, 0.8, 0.7]])  # of a teacher
CHUNKS = pytest.mark.parametrize("chunk_size", [None, 2])


@pytest.fixture
def both(make_encoder, tmp_path):
    """(their model, a function that gives our loss and gradients) of one encoder."""
    encoder = make_encoder()
    checkpoint.save(encoder, tmp_path / "encoder")
    theirs = SentenceTransformer(str(tmp_path / "encoder"), device="cpu").eval()
    theirs.max_seq_length = 32

    def ours(columns, chunk_size=None, **changes):
        pairs = [SampledPair(query, own, others) for query, own, *others in zip(*columns)]  # noqa: B905
        passages = passages_of(pairs)
        taught = {
            pair[0]: dict(zip((pair[1], *pair[2]), scores, strict=False))
            for pair, scores in zip(pairs, SCORES.tolist(), strict=True)
        }
        teacher = taught.__getitem__ if "teacher_share" in changes else None
        targets = targets_of(pairs, passages, lambda query: (), teacher)
        loss = Loss(encoder.similarity, settings(**{"temperature": 1 / 20} | changes))

        def of_vectors(queries, passages):
            return loss(queries, passages, targets)

        encoder.zero_grad()
        tokens = encoder.tokenize(QUERIES, "query"), encoder.tokenize(passages, "passage")
        options = ForwardOptions("fp32", chunk_size, ActivationBudget())
        value = forward_backward(encoder, Batch(*tokens, targets), of_vectors, options, SINGLE)
        return value.item(), gradients_of(encoder.passage.transformer.model)

    return theirs, ours


def gradients_of(module):
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def require_same(ours, value, theirs):
    """Their loss and gradients are ours."""
    loss, gradients = ours
    assert loss == pytest.approx(value.item(), rel=1e-4)
    if value.requires_grad:  # a loss with cached gradients has already gone backward
        value.backward()
    expected = gradients_of(theirs[0].auto_model)
    assert {n for n in expected if "pooler" not in n} == gradients.keys()
    largest = max(gradient.abs().max() for gradient in gradients.values()).item()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-5 * largest, rtol=1e-3)


def features(model, columns):
    return [model.tokenize(texts) for texts in columns]


@pytest.mark.parametrize(
    ("changes", "of_model"),
    [
        ({"symmetric": True}, losses.MultipleNegativesSymmetricRankingLoss),
        (
            {"matryoshka": [8, 16]},
            lambda model, scale: losses.MatryoshkaLoss(
                *(model, losses.MultipleNegativesRankingLoss(model, scale), [32, 16, 8]),
                matryoshka_weights=[1 / 3] * 3,
            ),
        ),
    ],
    ids=["symmetric", "matryoshka"],
)
def test_losses_of_pairs(both, changes, of_model):
    theirs, ours = both
    loss = of_model(theirs, scale=20.0)(features(theirs, PAIRS), None)
    require_same(ours(PAIRS, **changes), loss, theirs)


@pytest.mark.parametrize("margin", [0.0, 0.02])
def test_masking_by_margin_is_the_self_guided_loss(both, margin):
    theirs, ours = both
    options = {"contrast_anchors": False, "contrast_positives": False, "margin": margin}
    guided = losses.GISTEmbedLoss(theirs, theirs, temperature=1 / 20, **options)
    loss = guided(features(theirs, TRIPLES[:3]), None)
    require_same(ours(TRIPLES[:3], false_negative_margin=margin), loss, theirs)
    assert ours(TRIPLES[:3])[0] > loss.item()  # something was masked


@CHUNKS
@pytest.mark.parametrize("columns", [PAIRS, TRIPLES], ids=["pairs", "triples"])
def test_in_batch_negatives_with_cached_gradients(both, columns, chunk_size):
    theirs, ours = both
    cached = losses.CachedMultipleNegativesRankingLoss(theirs, scale=20.0, mini_batch_size=2)
    require_same(ours(columns, chunk_size), cached(features(theirs, columns), None), theirs)


@CHUNKS
@pytest.mark.parametrize(("student", "teacher"), [(1.0, 1.0), (0.05, 0.2), (0.5, 0.1)])
def test_kl_but_for_their_factor_of_the_temperature_squared(both, student, teacher, chunk_size):
    theirs, ours = both
    temperatures = {"temperature": student, "teacher_temperature": teacher}
    found = ours(TRIPLES, chunk_size, teacher_share=1.0, teacher_loss="kl", **temperatures)
    loss = losses.DistillKLDivLoss(theirs, student_temperature=student, teacher_temperature=teacher)
    value = loss(features(theirs, TRIPLES), SCORES)
    assert value > 0
    require_same(found, value / student**2, theirs)


@CHUNKS
def test_margin_mse(both, chunk_size):
    """The scores of their default are dot products: of vectors of norm 1, cosines."""
    theirs, ours = both
    found = ours(TRIPLES, chunk_size, teacher_share=1.0, teacher_loss="margin_mse")
    require_same(found, losses.MarginMSELoss(theirs)(features(theirs, TRIPLES), SCORES), theirs)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_without_in_batch_negatives_each_pair_is_a_batch_of_its_own(both, share):
    """And a share of the loss is that of the teacher."""
    theirs, ours = both
    chosen = {"teacher_share": share, "teacher_temperature": 0.1, "in_batch_negatives": False}
    ranking = losses.MultipleNegativesRankingLoss(theirs, scale=20.0)
    alone = [[texts[i : i + 1] for texts in TRIPLES] for i in range(len(QUERIES))]
    value = torch.stack([ranking(features(theirs, one), None) for one in alone]).mean()
    kl = losses.DistillKLDivLoss(theirs, student_temperature=0.05, teacher_temperature=0.1)
    taught = kl(features(theirs, TRIPLES), SCORES) / 0.05**2
    require_same(ours(TRIPLES, **chosen), (1 - share) * value + share * taught, theirs)
