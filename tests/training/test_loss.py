"""The loss against the softmax written out."""

import numpy as np
import pytest
import torch
from helpers import settings

from dpr.base.errors import InputError
from dpr.similarity import SIMILARITIES
from dpr.training.batch import Targets
from dpr.training.loss import Loss, in_batch_loss


def brute_force_loss(queries, passages, pairs, relevant, name, temperature, margin=None):
    """Each pair's softmax written out, in float64."""
    score = {
        "l2": lambda q, p: -np.sum((q - p) ** 2),
        "l1": lambda q, p: -np.sum(np.abs(q - p)),
    }.get(name, np.dot)
    total = 0.0
    for row, own in pairs:
        scores = [score(queries[row], passage) for passage in passages]
        total -= scores[own] / temperature
        total += np.log(
            sum(
                np.exp(score / temperature)
                for j, score in enumerate(scores)
                if j == own
                or not (relevant[row, j] or (margin is not None and score > scores[own] - margin))
            )
        )
    return total / len(pairs)


def drawn(seed=0, queries=6, passages=9):
    """Six queries, some with several passages; the last passages are hard negatives."""
    rng = np.random.default_rng(seed)
    q, p = rng.normal(size=(queries, 8)) / 3, rng.normal(size=(passages, 8)) / 3
    pairs = np.array([(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (0, 6), (1, 0)])
    return q, p, pairs, rng.random((queries, passages)) < 0.3


def tensors(q, p, pairs, relevant):
    targets = Targets([], [], torch.tensor(pairs), torch.tensor(relevant))
    return torch.tensor(q), torch.tensor(p), targets


@pytest.mark.parametrize("margin", [None, 0.0, 0.1, -0.2])
@pytest.mark.parametrize("name", SIMILARITIES)
def test_loss_equals_the_softmax_written_out(name, margin):
    q, p, pairs, relevant = drawn()
    scores = SIMILARITIES[name].scores(torch.tensor(q), torch.tensor(p))
    loss = in_batch_loss(scores, torch.tensor(pairs), torch.tensor(relevant), 0.5, margin)
    expected = brute_force_loss(q, p, pairs, relevant, name, 0.5, margin)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_a_margin_that_leaves_nothing_to_learn_from_is_an_error():
    scores, pairs = torch.tensor([[0.9, 0.3], [0.2, 0.8]]), torch.tensor([[0, 0], [1, 1]])
    with pytest.raises(InputError, match=r"false_negative_margin: 0\.7 takes every negative"):
        in_batch_loss(scores, pairs, torch.eye(2).bool(), 0.05, 0.7)
    assert in_batch_loss(scores, pairs, torch.eye(2).bool(), 0.05, 0.55) > 0
    # Judgments may leave none: no margin is to blame for that.
    assert in_batch_loss(scores, pairs, torch.ones(2, 2).bool(), 0.05, 0.7) == 0


def test_large_scores_do_not_overflow():
    pairs = torch.stack([torch.arange(3)] * 2, dim=1)
    loss = in_batch_loss(torch.eye(3) * 1e6, pairs, torch.zeros(3, 3, dtype=torch.bool), 1.0)
    assert loss.item() == 0


def test_symmetric_is_the_mean_of_both_directions():
    q, p, pairs, relevant = drawn()
    module = Loss(SIMILARITIES["dot"], settings(symmetric=True, temperature=0.5))
    loss = module(*tensors(q, p, pairs, relevant))
    there = brute_force_loss(q, p, pairs, relevant, "dot", 0.5)
    back = brute_force_loss(p, q, pairs[:, ::-1], relevant.T, "dot", 0.5)
    assert loss.item() == pytest.approx((there + back) / 2, rel=1e-9)


def test_matryoshka_is_the_mean_over_dimensions_normalized_again():
    q, p, pairs, relevant = drawn()
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)  # noqa: E731
    q, p = unit(q), unit(p)
    expected = [
        brute_force_loss(unit(q[:, :d]), unit(p[:, :d]), pairs, relevant, "cosine", 0.05)
        for d in (2, 4, 8)
    ]
    loss = Loss(SIMILARITIES["cosine"], settings(matryoshka=[2, 4, 8], temperature=0.05))
    assert loss(*tensors(q, p, pairs, relevant)).item() == pytest.approx(
        np.mean(expected), rel=1e-6
    )


def test_a_learned_temperature_goes_down_its_gradient():
    """d loss / d log t of the loss written out, by a difference quotient."""
    q, p, pairs, relevant = drawn()
    module = Loss(SIMILARITIES["dot"], settings(temperature=0.5, temperature_lr=0.01))
    module.double()(*tensors(q, p, pairs, relevant)).backward()
    low, high = (
        brute_force_loss(q, p, pairs, relevant, "dot", 0.5 * np.exp(step)) for step in (-1e-5, 1e-5)
    )
    assert module.log_temperature.grad.item() == pytest.approx((high - low) / 2e-5, rel=1e-4)
    fixed = Loss(SIMILARITIES["dot"], settings(temperature=0.5))
    assert not any(parameter.requires_grad for parameter in fixed.parameters())
