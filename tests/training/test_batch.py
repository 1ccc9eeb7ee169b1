"""Which passages of a batch are relevant, negatives or scored by a teacher."""

import math

from dpr.training.batch import SampledPair, passages_of, targets_of


def test_passages_relevant_to_the_same_topic_are_no_negatives():
    judged = {"q0": ["d0", "d1"], "q1": ["d3"]}
    pairs = [
        SampledPair("q0", "d0"),
        SampledPair("q1", "d3"),
        SampledPair("q1", "d2"),
        SampledPair("q0", "d1"),
    ]
    batch = targets_of(pairs, passages_of(pairs), judged.__getitem__)
    assert batch.query_ids == ["q0", "q1"]
    assert batch.passage_ids == ["d0", "d3", "d2", "d1"]
    assert batch.pairs.tolist() == [[0, 0], [1, 1], [1, 2], [0, 3]]
    assert batch.relevant.tolist() == [
        [True, False, False, True],
        [False, True, True, False],  # d2 is no judged one, but a pair's own
    ]


def test_hard_negatives_follow_the_positives():
    judged = {"q0": ["d0", "d2"], "q1": [], "q2": []}
    pairs = [
        SampledPair("q0", "d0", ("d1", "d2")),
        SampledPair("q1", "d1"),
        SampledPair("q2", "d3", ("d9",)),
    ]
    batch = targets_of(pairs, passages_of(pairs), judged.__getitem__)
    assert batch.passage_ids == ["d0", "d1", "d3", "d2", "d9"]  # d1 is q1's positive
    assert batch.pairs.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert batch.relevant.tolist() == [
        [True, False, False, True, False],  # d2 is judged relevant to q0, whatever the triple says
        [False, True, False, False, False],
        [False, False, True, False, False],
    ]
    assert batch.negatives.tolist() == [
        [False, True, False, True, False],
        [False] * 5,
        [False, False, False, False, True],
    ]


def test_a_teacher_scores_some_of_the_passages():
    pairs = [SampledPair("q0", "d0", ("d1",)), SampledPair("q1", "d2")]
    scores = {"q0": {"d0": 2.0, "d2": -1.0, "d9": 5.0}, "q1": {"d2": 0.5}}
    batch = targets_of(pairs, passages_of(pairs), lambda q: (), scores.__getitem__)
    assert batch.passage_ids == ["d0", "d2", "d1"]
    given = [[None if math.isnan(s) else s for s in row] for row in batch.teacher.tolist()]
    assert given == [[2.0, -1.0, None], [None, 0.5, None]]
