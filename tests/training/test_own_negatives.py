"""`in_batch_negatives: false`: a pair has no negatives but those drawn for it."""

import itertools

import numpy as np
import pytest
import torch
from helpers import settings
from pydantic import ValidationError
from training_helpers import fixed_passages

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Pair
from dpr.similarity import SIMILARITIES
from dpr.training.batch import Drawn, passages_of, targets_of
from dpr.training.loss import Loss
from dpr.training.pairs import PairSet


def test_the_loss_by_hand():
    """Of q2's two negatives one is relevant to it; q1 has none; d0 is a negative of q2 alone."""
    drawn = [Drawn("q0", "d0", ("d3",)), Drawn("q1", "d1"), Drawn("q2", "d2", ("d0", "d4"))]
    judged = {"q0": [], "q1": ["d3"], "q2": ["d4"]}
    columns = passages_of(drawn)
    assert columns == ["d0", "d1", "d2", "d3", "d4"]
    targets = targets_of(drawn, columns, judged.__getitem__)
    scores = torch.tensor([[1.0, 9, 9, 0.5, 9], [9, 2.0, 9, 9, 9], [0.0, 9, 0.7, 9, 9]])
    loss = Loss(SIMILARITIES["dot"], settings(in_batch_negatives=False, temperature=0.5))
    found = loss(scores, torch.eye(5), targets).item()
    terms = [np.log1p(np.exp((0.5 - 1.0) / 0.5)), 0.0, np.log1p(np.exp((0.0 - 0.7) / 0.5))]
    assert found == pytest.approx(np.mean(terms), rel=1e-6)


@pytest.fixture
def read(collection, make_encoder, tmp_path):
    def make(pairs, fixed=None, **changes):
        chosen = settings(in_batch_negatives=False, batch_size=2, **changes)
        corpus, encoder = Corpus(collection, ". "), make_encoder()
        return PairSet.read(corpus, pairs, encoder, chosen, tmp_path, fixed)

    return make


@pytest.mark.parametrize("fixed", [False, True])
def test_only_the_negatives_of_its_pair_move_a_query(read, make_encoder, collection, fixed):
    """The gradient of a query's scores is 0 for all passages but its own and the one drawn."""
    listed = [Pair("q0", "d00", ("d01", "d02", "d03")), Pair("q1", "d13", ("d02", "d07"))]
    vectors = fixed_passages(make_encoder(), collection) if fixed else None
    pairs = read(listed, vectors, hard_negatives=1)
    used = [f"d{n:02}" for n in (range(60) if fixed else (0, 1, 2, 3, 7, 13))]
    loss = Loss(SIMILARITIES["dot"], pairs.settings)
    for batch in itertools.islice(pairs.batches(0), 10):
        targets = batch.targets
        scores = torch.zeros(2, len(targets.passage_ids), requires_grad=True)
        loss(scores, torch.eye(len(targets.passage_ids)), targets).backward()
        for row, own in targets.pairs.tolist():
            pair = listed[targets.query_ids[row]]
            moved = scores.grad[row].nonzero().flatten().tolist()
            names = {used[targets.passage_ids[column]] for column in moved}
            assert used[targets.passage_ids[own]] == pair.passage_id
            assert len(names) == 2 and names - {pair.passage_id} <= set(pair.negative_ids)


def test_pairs_without_negatives_leave_nothing_to_learn_from(read, collection):
    pairs = beir.read_pairs(collection)
    assert not any(pair.negative_ids for pair in pairs)
    with pytest.raises(InputError, match=r"train\.in_batch_negatives: .*negative"):
        read(pairs)


@pytest.mark.parametrize("change", [{"symmetric": True}, {"hard_negatives": 0}])
def test_settings_that_contradict_it_are_refused(change):
    """From a passage to its query there are only in-batch negatives."""
    chosen = settings(in_batch_negatives=False).model_dump()
    assert not type(settings()).model_validate(chosen).in_batch_negatives
    with pytest.raises(ValidationError, match="in_batch_negatives"):
        type(settings()).model_validate(chosen | change)
