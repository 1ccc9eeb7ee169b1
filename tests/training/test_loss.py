"""The contrastive loss against the softmax written out."""

import itertools

import numpy as np
import pytest
import torch
from helpers import settings
from pydantic import ValidationError
from training_helpers import fixed_passages

from dpr.base.errors import InputError
from dpr.records.types import Pair
from dpr.similarity import SIMILARITIES
from dpr.training.batch import SampledPair, passages_of, targets_of
from dpr.training.loss import Loss, Targets, in_batch_loss


def brute_force_loss(queries, passages, pairs, relevant, name, temperature, margin=None):
    """Each pair's softmax written out, in float64."""
    score = {
        "l2": lambda q, p: -np.sum((q - p) ** 2),
        "l1": lambda q, p: -np.sum(np.abs(q - p)),
    }.get(name, np.dot)
    total = 0.0
    for row, positive in pairs:
        scores = [score(queries[row], passage) for passage in passages]
        total -= scores[positive] / temperature
        total += np.log(
            sum(
                np.exp(score / temperature)
                for j, score in enumerate(scores)
                if j == positive
                or not (
                    relevant[row, j] or (margin is not None and score > scores[positive] - margin)
                )
            )
        )
    return total / len(pairs)


def drawn(seed=0, queries=6, passages=9):
    """Six queries, some with several passages; the last passages are hard negatives."""
    rng = np.random.default_rng(seed)
    q, p = rng.normal(size=(queries, 8)) / 3, rng.normal(size=(passages, 8)) / 3
    pairs = np.array([(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (0, 6), (1, 0)])
    return q, p, pairs, rng.random((queries, passages)) < 0.3


def plain_targets(pairs, relevant):
    return Targets([], [], torch.as_tensor(pairs), torch.as_tensor(relevant))


def loss_of(module, q, p, pairs, relevant):
    return module(torch.tensor(q), torch.tensor(p), plain_targets(pairs, relevant))


@pytest.mark.parametrize("margin", [None, 0.0, 0.1, -0.2])
@pytest.mark.parametrize("name", SIMILARITIES)
def test_loss_equals_the_softmax_written_out(name, margin):
    q, p, pairs, relevant = drawn()
    scores = SIMILARITIES[name].scores(torch.tensor(q), torch.tensor(p))
    loss = in_batch_loss(scores, plain_targets(pairs, relevant), 0.5, margin)
    expected = brute_force_loss(q, p, pairs, relevant, name, 0.5, margin)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_a_margin_that_leaves_nothing_to_learn_from_is_an_error():
    scores, pairs = torch.tensor([[0.9, 0.3], [0.2, 0.8]]), torch.tensor([[0, 0], [1, 1]])
    judged = plain_targets(pairs, torch.eye(2).bool())
    with pytest.raises(InputError, match=r"false_negative_margin: 0\.7 takes every negative"):
        in_batch_loss(scores, judged, 0.05, 0.7)
    assert in_batch_loss(scores, judged, 0.05, 0.55) > 0
    # Judgments may leave none: no margin is to blame for that.
    assert in_batch_loss(scores, plain_targets(pairs, torch.ones(2, 2).bool()), 0.05, 0.7) == 0


def test_large_scores_do_not_overflow():
    targets = plain_targets(torch.arange(3).repeat(2, 1).T, torch.zeros(3, 3).bool())
    assert in_batch_loss(torch.eye(3) * 1e6, targets, 1.0).item() == 0


def test_symmetric_is_the_mean_of_both_directions():
    q, p, pairs, relevant = drawn()
    module = Loss(SIMILARITIES["dot"], settings(symmetric=True, temperature=0.5))
    loss = loss_of(module, q, p, pairs, relevant)
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
    module = Loss(SIMILARITIES["cosine"], settings(matryoshka=[2, 4, 8], temperature=0.05))
    loss = loss_of(module, q, p, pairs, relevant).item()
    assert loss == pytest.approx(np.mean(expected), rel=1e-6)


def test_a_learned_temperature_goes_down_its_gradient():
    """d loss / d log t of the loss written out, by a difference quotient."""
    q, p, pairs, relevant = drawn()
    module = Loss(SIMILARITIES["dot"], settings(temperature=0.5, temperature_lr=0.01))
    loss_of(module.double(), q, p, pairs, relevant).backward()
    low, high = (
        brute_force_loss(q, p, pairs, relevant, "dot", 0.5 * np.exp(step)) for step in (-1e-5, 1e-5)
    )
    assert module.log_temperature.grad.item() == pytest.approx((high - low) / 2e-5, rel=1e-4)
    fixed = Loss(SIMILARITIES["dot"], settings(temperature=0.5))
    assert not any(parameter.requires_grad for parameter in fixed.parameters())


# --- in_batch_negatives: false


def test_without_in_batch_negatives_by_hand():
    """Of q2's two negatives one is relevant to it; q1 has none; d0 is a negative of q2 alone."""
    pairs = [
        SampledPair("q0", "d0", ("d3",)),
        SampledPair("q1", "d1"),
        SampledPair("q2", "d2", ("d0", "d4")),
    ]
    judged = {"q0": [], "q1": ["d3"], "q2": ["d4"]}
    targets = targets_of(pairs, passages_of(pairs), judged.__getitem__)
    scores = torch.tensor([[1.0, 9, 9, 0.5, 9], [9, 2.0, 9, 9, 9], [0.0, 9, 0.7, 9, 9]])
    module = Loss(SIMILARITIES["dot"], settings(in_batch_negatives=False, temperature=0.5))
    terms = [np.log1p(np.exp((0.5 - 1.0) / 0.5)), 0.0, np.log1p(np.exp((0.0 - 0.7) / 0.5))]
    loss = module(scores, torch.eye(5), targets).item()
    assert loss == pytest.approx(np.mean(terms), rel=1e-6)


@pytest.mark.parametrize("fixed", [False, True])
def test_only_the_negatives_of_its_pair_move_a_query(make_pairs, make_encoder, collection, fixed):
    """A query's scores have no gradient but for the positive and the negative drawn."""
    listed = [Pair("q0", "d00", ("d01", "d02", "d03")), Pair("q1", "d13", ("d02", "d07"))]
    vectors = fixed_passages(make_encoder(), collection) if fixed else None
    chosen = {"in_batch_negatives": False, "batch_size": 2, "hard_negatives": 1}
    pairs = make_pairs(listed, reading={"fixed": vectors}, **chosen)
    used = [f"d{n:02}" for n in (range(60) if fixed else (0, 1, 2, 3, 7, 13))]
    loss = Loss(SIMILARITIES["dot"], pairs.settings)
    for batch in itertools.islice(pairs.batches(0), 10):
        targets = batch.targets
        scores = torch.zeros(2, len(targets.passage_ids), requires_grad=True)
        loss(scores, torch.eye(len(targets.passage_ids)), targets).backward()
        for row, positive in targets.pairs.tolist():
            pair = listed[targets.query_ids[row]]
            moved = scores.grad[row].nonzero().flatten().tolist()
            names = {used[targets.passage_ids[column]] for column in moved}
            assert used[targets.passage_ids[positive]] == pair.passage_id
            assert len(names) == 2 and names - {pair.passage_id} <= set(pair.negative_ids)


def test_pairs_without_negatives_leave_nothing_to_learn_from(make_pairs):
    with pytest.raises(InputError, match=r"train\.in_batch_negatives: .*negative"):
        make_pairs(in_batch_negatives=False)


@pytest.mark.parametrize("change", [{"symmetric": True}, {"hard_negatives": 0}])
def test_settings_that_contradict_it_are_refused(change):
    """From a passage to its query there are only in-batch negatives."""
    chosen = settings(in_batch_negatives=False).model_dump()
    assert not type(settings()).model_validate(chosen).in_batch_negatives
    with pytest.raises(ValidationError, match="in_batch_negatives"):
        type(settings()).model_validate(chosen | change)
