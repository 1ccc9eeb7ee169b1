"""How much of what is relevant to one topic is relevant to another."""

from collections import Counter
from collections.abc import Collection, Mapping


def nearest_overlap(
    topics: Mapping[str, Collection[str]], others: Mapping[str, Collection[str]]
) -> dict[str, float]:
    """For each topic the greatest Jaccard index of its passages with those of one other topic.

    Args:
        topics: {topic id: ids of the relevant passages}; the same for `others`.
    Returns: 0 for a topic that shares no passage with any.
    """
    topics_with: dict[str, list[str]] = {}
    for other, passages in others.items():
        for passage_id in passages:
            topics_with.setdefault(passage_id, []).append(other)
    nearest = {}
    for topic, passages in topics.items():
        shared = Counter(other for p in passages for other in topics_with.get(p, ()))
        nearest[topic] = max(
            (n / (len(passages) + len(others[o]) - n) for o, n in shared.items()), default=0.0
        )
    return nearest
