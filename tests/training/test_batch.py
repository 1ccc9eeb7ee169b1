"""Which passages of a batch are relevant, negatives or scored by a teacher."""

import math

from dpr.training.batch import SampledPair, passages_of, targets_of


def test_hard_negatives_follow_the_positives_and_relevant_passages_are_no_negatives():
    listed = [("q0", "d0", ("d1", "d2")), ("q1", "d1"), ("q2", "d3", ("d9",)), ("q0", "d4")]
    pairs = [SampledPair(*row) for row in listed]
    judged = {"q0": ["d0", "d2", "d4"], "q1": [], "q2": []}
    batch = targets_of(pairs, passages_of(pairs), judged.__getitem__)
    assert batch.query_ids == ["q0", "q1", "q2"]
    assert batch.passage_ids == ["d0", "d1", "d3", "d4", "d2", "d9"]  # d1 is q1's positive
    assert batch.pairs.tolist() == [[0, 0], [1, 1], [2, 2], [0, 3]]
    assert batch.relevant.int().tolist() == [
        [1, 0, 0, 1, 1, 0],  # d2 is judged relevant to q0, though a pair's hard negative
        [0, 1, 0, 0, 0, 0],  # q1's positive is not judged
        [0, 0, 1, 0, 0, 0],
    ]
    negatives = [[0, 1, 0, 0, 1, 0], [0] * 6, [0, 0, 0, 0, 0, 1], [0] * 6]
    assert batch.negatives.int().tolist() == negatives


def test_a_teacher_scores_some_of_the_passages():
    pairs = [SampledPair("q0", "d0", ("d1",)), SampledPair("q1", "d2")]
    scores = {"q0": {"d0": 2.0, "d2": -1.0, "d9": 5.0}, "q1": {"d2": 0.5}}
    batch = targets_of(pairs, passages_of(pairs), lambda q: (), scores.__getitem__)
    assert batch.passage_ids == ["d0", "d2", "d1"]
    given = [[None if math.isnan(s) else s for s in row] for row in batch.teacher.tolist()]
    assert given == [[2.0, -1.0, None], [None, 0.5, None]]
