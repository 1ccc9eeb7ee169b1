"""A softmax over a sample of the passages against the one over all."""

from itertools import combinations

import numpy as np
import pytest
import torch
from helpers import settings

from dpr.embeddings.artifact import Embeddings
from dpr.similarity import SIMILARITIES
from dpr.training.batch import SampledPair, targets_of
from dpr.training.loss import Loss
from dpr.training.passages import FixedPassages

TEMPERATURE = 2.0
PAIRS = [SampledPair(0, 2), SampledPair(1, 5)]
POSITIVES = [2, 5]
RELEVANT = {0: [2, 7], 1: [5]}  # 7 is no negative of query 0, drawn or not
RNG = np.random.default_rng(0)
QUERIES, VECTORS = RNG.normal(size=(2, 4)) / 2, RNG.normal(size=(200, 4)).astype(np.float32)
TEACHER = {query: dict(enumerate(RNG.normal(size=200))) for query in (0, 1)}
FEW, LEFT, EACH = 9, [0, 1, 3, 4, 6, 7, 8], 100  # passages; those of no pair; steps a sample


def columns(passages, size, steps, of_pairs=POSITIVES):
    """The columns of so many steps that draw so many passages."""
    ids = [str(row) for row in range(passages)]
    fixed = FixedPassages(Embeddings(VECTORS[:passages], ids, {}), size, seed=0)
    return [fixed.sample_rows(of_pairs, step) for step in range(steps)]


def columns_of_few(size):
    return columns(FEW, size, EACH * len(list(combinations(LEFT, size))))


def loss_and_gradient(pairs, rows, log_weights=None, **changes):
    """The loss of some pairs, and its gradient by their queries' vectors."""
    teacher = TEACHER.__getitem__ if "teacher_share" in changes else None
    targets = targets_of(pairs, rows, RELEVANT.__getitem__, teacher)
    module = Loss(SIMILARITIES["dot"], settings(temperature=TEMPERATURE, **changes))
    queries = torch.tensor(QUERIES[[pair.query_id for pair in pairs]], requires_grad=True)
    passages = torch.from_numpy(VECTORS[rows].astype(np.float64))
    loss = module(queries, passages, targets._replace(log_weights=log_weights))
    loss.backward()
    return loss.item(), queries.grad.numpy()


@pytest.mark.parametrize("size", [1, 2, 4])
def test_each_sample_of_what_is_left_is_as_likely(size):
    samples = [rows for rows, _ in columns_of_few(size)]
    drawn = [tuple(row for row in rows if row not in POSITIVES) for rows in samples]
    assert set(drawn) == set(combinations(LEFT, size))
    deviations = [drawn.count(sample) - EACH for sample in set(drawn)]
    assert max(map(abs, deviations)) < 5 * EACH**0.5
    assert all(rows == sorted({*POSITIVES, *rows}) for rows in samples)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("pair", PAIRS)
def test_the_sum_of_the_softmax_and_its_gradient_are_unbiased(pair, size):
    """Their means over all samples are the sum over all passages, written out, and its gradient."""
    query, positive, _ = pair
    rows = [row for row in range(FEW) if row == positive or row not in RELEVANT[query]]
    vectors = VECTORS.astype(np.float64)
    terms = np.exp(vectors[rows] @ QUERIES[query] / TEMPERATURE)
    sums, gradients = [], []
    samples = {tuple(rows): (rows, weights) for rows, weights in columns_of_few(size)}
    for sample in samples.values():
        loss, gradient = loss_and_gradient([pair], *sample)
        sums.append(np.exp(loss + vectors[positive] @ QUERIES[query] / TEMPERATURE))
        gradients.append(sums[-1] * (gradient[0] + vectors[positive] / TEMPERATURE))
    assert np.mean(sums) == pytest.approx(terms.sum(), rel=1e-6)
    expected = terms @ vectors[rows] / TEMPERATURE
    np.testing.assert_allclose(np.mean(gradients, axis=0), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"teacher_share": 1.0, "teacher_loss": "kl", "teacher_temperature": 1.0},
        {"teacher_share": 1.0, "teacher_loss": "margin_mse"},
    ],
    ids=["kl", "margin_mse"],
)
def test_the_mean_gradient_nears_that_of_all_passages(changes):
    """The pairs have the hardest negatives, which would count most without weights."""
    hard = np.argsort(-VECTORS @ QUERIES.sum(axis=0))[:20].tolist()
    pairs = [pair._replace(negative_ids=hard) for pair in PAIRS]
    of_pairs = sorted({*POSITIVES, *hard})
    _, whole = loss_and_gradient(pairs, list(range(200)), **changes)

    def error(size, weighted=True):
        sampled = [each if weighted else each[:1] for each in columns(200, size, 150, of_pairs)]
        gradients = [loss_and_gradient(pairs, *each, **changes)[1] for each in sampled]
        return np.linalg.norm(np.mean(gradients, axis=0) - whole) / np.linalg.norm(whole)

    sizes = (4, 16, 64, 200 - len(of_pairs))
    errors = [error(size) for size in sizes]
    assert errors == sorted(errors, reverse=True)
    assert errors[1] < 0.25 * error(16, weighted=False)
    assert errors[3] < 1e-6


def test_the_direction_from_passages_to_queries_knows_no_sample():
    """It compares the queries of the batch, all of them."""
    rows, log_weights = columns(FEW, 2, 1)[0]

    def back(weights):
        """That direction's part in twice the symmetric loss."""
        both, there = (
            loss_and_gradient(PAIRS, rows, weights, symmetric=symmetric)[0]
            for symmetric in (True, False)
        )
        return 2 * both - there

    assert back(log_weights) == pytest.approx(back(None), rel=1e-12)
