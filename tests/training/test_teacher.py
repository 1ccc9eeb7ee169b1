"""A teacher's scores: from its file to a batch, and what the losses make of them."""

import itertools

import numpy as np
import pytest
import torch
from helpers import settings
from training_helpers import fixed_passages

from dpr.base.errors import InputError
from dpr.records.scores import write_scores
from dpr.records.types import Pair
from dpr.similarity import SIMILARITIES
from dpr.training.loss import Loss, Targets, in_batch_loss, kl_loss, margin_mse_loss

NAN = float("nan")
QUERIES, PASSAGES, PAIRS = 4, 7, [(0, 0), (1, 1), (2, 2), (3, 3), (0, 5)]


def drawn(seed=0, outside=0.4):
    """Scores of an encoder and of a teacher, which lacks some but for those of the pairs."""
    rng = np.random.default_rng(seed)
    scores, teacher = rng.normal(size=(2, QUERIES, PASSAGES))
    own = np.zeros_like(scores, dtype=bool)
    own[tuple(zip(*PAIRS, strict=True))] = True
    teacher[(rng.random(teacher.shape) < outside) & ~own] = NAN
    return scores, teacher


def kl_by_hand(scores, teacher, temperature, teacher_temperature):
    """The sum of p log (p / q) over the scored passages, in a loop."""
    total = 0.0
    for query, _ in PAIRS:
        scored = [i for i in range(PASSAGES) if not np.isnan(teacher[query, i])]
        p = np.exp(teacher[query, scored] / teacher_temperature)
        q = np.exp(scores[query, scored] / temperature)
        p, q = p / p.sum(), q / q.sum()
        total += np.sum(p * np.log(p / q))
    return total / len(PAIRS)


def margin_mse_by_hand(scores, teacher):
    errors = [
        ((scores[q, own] - scores[q, i]) - (teacher[q, own] - teacher[q, i])) ** 2
        for q, own in PAIRS
        for i in range(PASSAGES)
        if i != own and not np.isnan(teacher[q, i])
    ]
    return np.mean(errors)


def targets_with(teacher, pairs=None):
    pairs = torch.tensor(PAIRS) if pairs is None else pairs
    return Targets([], [], pairs, torch.rand(teacher.shape) < 0.2, teacher=teacher)


@pytest.mark.parametrize("outside", [0.0, 0.4, 1.0])
def test_passages_without_a_score_are_left_out(outside):
    scores, teacher = drawn(outside=outside)
    given = torch.tensor(scores, requires_grad=True)
    arguments = given, targets_with(torch.tensor(teacher))
    kl, mse = kl_loss(*arguments, 0.3, 0.7), margin_mse_loss(*arguments)
    assert kl.item() == pytest.approx(kl_by_hand(scores, teacher, 0.3, 0.7), rel=1e-9)
    assert mse.item() == pytest.approx(margin_mse_by_hand(scores, teacher), rel=1e-9)
    (kl + mse).backward()
    assert given.grad.isfinite().all()
    assert (given.grad[torch.tensor(teacher).isnan()] == 0).all()


def test_nothing_but_the_own_passage_scored_is_nothing_to_learn():
    scores = torch.randn(2, 3, requires_grad=True)
    teacher = torch.tensor([[0.5, NAN, NAN], [NAN, 0.1, NAN]])
    targets = targets_with(teacher, torch.tensor([[0, 0], [1, 1]]))
    loss = kl_loss(scores, targets, 0.1, 0.1) + margin_mse_loss(scores, targets)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert scores.grad.abs().max() < 1e-6


@pytest.mark.parametrize("name", ["kl", "margin_mse"])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_of_the_teacher_mixes_the_losses(name, share):
    scores, teacher = drawn()
    targets = targets_with(torch.tensor(teacher))
    similarity = SIMILARITIES["dot"]
    rng = np.random.default_rng(1)
    queries, passages = rng.normal(size=(QUERIES, 8)) / 3, rng.normal(size=(PASSAGES, 8)) / 3
    chosen = {"teacher_share": share, "teacher_loss": name, "temperature": 0.5}
    module = Loss(similarity, settings(teacher_temperature=0.7, **chosen))
    loss = module(torch.tensor(queries), torch.tensor(passages), targets).item()
    scores = queries @ passages.T
    taught = {
        "kl": kl_by_hand(scores, teacher, 0.5, 0.7),
        "margin_mse": margin_mse_by_hand(scores, teacher),
    }[name]
    # tests/training/test_loss.py has this one written out.
    contrastive = in_batch_loss(torch.tensor(scores), targets, 0.5).item()
    assert loss == pytest.approx((1 - share) * contrastive + share * taught, rel=1e-6)


# --- from a file to a batch

PAIRS_OF_FILE = [Pair("q0", "d00"), Pair("q1", "d01"), Pair("q2", "d02"), Pair("q0", "d12")]
GIVEN = {
    "q2": {"d02": 0.25, "d40": -1.5},
    "q0": {"d00": 3.5, "d12": 3.25, "d50": 1.0, "d51": -2.0, "d01": 0.5},
    "q1": {"d01": 7.0},
    "q7": {"d05": 1.0},  # a query that is not trained on
}


@pytest.fixture
def read(make_pairs, tmp_path):
    """read(GIVEN, ...) -> pairs with these scores, of a file."""

    def make(given=GIVEN, fixed=None, **changes):
        file = tmp_path / "teacher.jsonl"
        write_scores(file, given.items())
        chosen = {"teacher_share": 1.0, "batch_size": 4} | changes
        return make_pairs(PAIRS_OF_FILE, reading={"fixed": fixed, "teacher": file}, **chosen)

    return make


def scored(targets, query_ids, passage_ids):
    """{query id: {passage id: score}} of a batch."""
    return {
        query_ids[row]: {
            passage_ids[column]: score
            for column, score in zip(targets.passage_ids, scores, strict=True)
            if not np.isnan(score)
        }
        for row, scores in zip(targets.query_ids, targets.teacher.tolist(), strict=True)
    }


def test_the_scores_of_a_file_reach_the_batch(read):
    """Of each pair two scored passages are drawn, if there are so many."""
    used = ["d00", "d01", "d02", "d12", "d40", "d50", "d51"]
    pairs, seen = read(hard_negatives=2), set()
    for batch in itertools.islice(pairs.batches(0), 30):
        targets = batch.targets
        own = [used[targets.passage_ids[c]] for c in targets.pairs[:, 1].tolist()]
        queries = [f"q{targets.query_ids[r]}" for r in targets.pairs[:, 0].tolist()]
        assert sorted(zip(queries, own, strict=True)) == sorted(p[:2] for p in PAIRS_OF_FILE)
        in_batch = {used[row] for row in targets.passage_ids}
        in_batch_scores = scored(targets, ["q0", "q1", "q2"], used)
        for query_id in ("q0", "q1", "q2"):
            wanted = {p: s for p, s in GIVEN[query_id].items() if p in in_batch}
            assert in_batch_scores[query_id] == pytest.approx(wanted)
        for query_id, passage_id, mask in zip(queries, own, targets.negatives, strict=True):
            negatives = {used[targets.passage_ids[c]] for c in mask.nonzero().flatten().tolist()}
            others = GIVEN[query_id].keys() - {passage_id}
            assert negatives <= others and len(negatives) == min(2, len(others))
            seen |= {(query_id, negative) for negative in negatives}
    assert seen == {("q0", p) for p in ("d00", "d12", "d50", "d51", "d01")} | {("q2", "d40")}


def test_a_batch_of_all_passages_has_all_scores(read, make_encoder, collection):
    pairs = read(fixed=fixed_passages(make_encoder(), collection))
    (batch,) = itertools.islice(pairs.batches(0), 1)
    scores = scored(batch.targets, ["q0", "q1", "q2"], [f"d{n:02}" for n in range(60)])
    assert scores == {query_id: GIVEN[query_id] for query_id in ("q0", "q1", "q2")}


@pytest.mark.parametrize("lacking", ["q1", "d12"])
def test_a_pair_without_a_score_is_an_error_before_the_first_step(read, lacking):
    given = {q: {p: s for p, s in scores.items() if p != lacking} for q, scores in GIVEN.items()}
    given.pop(lacking, None)
    with pytest.raises(InputError, match=r"no score"):
        read(given, batch_size=2)
