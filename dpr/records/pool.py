"""The topics and the pool of passages that a validation ranks, drawn by seed.

Ranking the whole collection would take longer than the training. nDCG@10 is higher over a pool than
over the collection. It serves to compare steps, and experiments with the same training data.
"""

import itertools
import random
from collections.abc import Iterable, Mapping

from dpr.records.types import Pair, Qrels, is_relevant

SEED = 42  # fixed, so that trainings with different seeds are validated on the same pool


def sample_topics(qrels: Qrels, count: int) -> Qrels:
    """At most `count` of the topics with a relevant passage, drawn by `SEED`."""
    topics = [q for q, grades in qrels.items() if any(map(is_relevant, grades.values()))]
    if len(topics) > count:
        topics = sorted(random.Random(SEED).sample(topics, count))
    return {query_id: qrels[query_id] for query_id in topics}


def sample_by_source(qrels: Qrels, source_of: Mapping[str, int], count: int) -> Qrels:
    """At most `count` topics, equally many of each source; large sources fill up for small ones.

    With a single source, this is `sample_topics`.

    Args:
        source_of: the source of each topic.
        count: at least the number of sources.
    """
    parts: dict[int, Qrels] = {}
    for query_id, grades in sample_topics(qrels, len(qrels)).items():
        parts.setdefault(source_of[query_id], {})[query_id] = grades
    sampled: dict[int, Qrels] = {}
    for source in sorted(parts, key=lambda source: len(parts[source])):
        share = count // (len(parts) - len(sampled))
        sampled[source] = sample_topics(parts[source], share)
        count -= len(sampled[source])
    return {q: grades for source in sorted(parts) for q, grades in sampled[source].items()}


def draw_pool(qrels: Qrels, passage_ids: Iterable[str], size: int) -> list[str]:
    """Draw passages by `SEED`: about half relevant, from each topic in turn; the rest at random.

    Args:
        passage_ids: all ids of the collection; they are read twice, and not held in memory.
    Returns: `size` ids in the order of the collection, or all ids if it has fewer.
    """
    rng = random.Random(SEED)
    remaining = []
    for grades in qrels.values():
        relevant = [p for p, grade in grades.items() if is_relevant(grade)]
        rng.shuffle(relevant)
        remaining.append(sorted(relevant, key=grades.__getitem__))  # best last, for pop()
    chosen: set[str] = set()
    first_round = True
    while any(remaining) and (first_round or len(chosen) < size // 2):
        chosen.update(topic.pop() for topic in remaining if topic)
        first_round = False
    others = sum(p not in chosen for p in passage_ids)
    drawn = set(rng.sample(range(others), min(size - len(chosen), others)))
    number = itertools.count()
    return [p for p in passage_ids if p in chosen or next(number) in drawn]


def best_pairs(qrels: Qrels) -> list[Pair]:
    """Each topic with each passage of its highest grade, shuffled by `SEED`."""
    pairs = [
        Pair(query_id, passage_id)
        for query_id, grades in qrels.items()
        for passage_id, grade in grades.items()
        if is_relevant(grade) and grade == max(grades.values())
    ]
    random.Random(SEED).shuffle(pairs)
    return pairs
