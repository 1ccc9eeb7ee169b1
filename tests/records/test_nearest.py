from dpr.records.nearest import nearest_overlap


def test_the_greatest_jaccard_index_by_hand():
    topics = {"a": {"1", "2", "3"}, "b": {"9"}, "c": {"7"}}
    others = {"x": {"1"}, "y": {"1", "2", "4"}, "z": {"7"}}
    assert nearest_overlap(topics, others) == {"a": 2 / 4, "b": 0.0, "c": 1.0}
    assert nearest_overlap(topics, {}) == {"a": 0.0, "b": 0.0, "c": 0.0}
