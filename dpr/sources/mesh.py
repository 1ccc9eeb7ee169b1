"""Topics and judgments from MeSH headings, and their split by descriptor.

A topic is a descriptor ("Heart"), or a descriptor with a qualifier ("Heart drug effects"). NLM's
indexers read each article and assigned its headings, so humans judged the whole collection.
"""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from dpr.base.errors import InputError
from dpr.settings import MedlineSettings
from dpr.sources.medline_xml import Heading, Term

NEARLY_THE_SAME = 0.8  # Jaccard index of the relevant passages of two topics


class Topic(NamedTuple):
    """`grades`: {PMID: 2 for a major topic, else 1}, in the order of the collection."""

    id: str
    descriptor: str
    text: str
    has_qualifier: bool
    grades: dict[str, int]

    @property
    def major(self) -> list[str]:
        return [pmid for pmid, grade in self.grades.items() if grade == 2]


def topics(
    indexed: Iterable[tuple[str, Iterable[Heading]]],
    min_relevant: int,
    max_relevant: int,
    min_major: int,
) -> list[Topic]:
    """Topics with `min_relevant` to `max_relevant` citations, at least `min_major` of grade 2.

    NLM's rule: a descriptor is a major topic of a citation if it or one of its qualifiers is
    flagged, a descriptor with a qualifier if either of the two is.

    Args:
        indexed: (PMID, headings) of each citation.
    Returns: topics sorted by id.
    """
    by_id: dict[str, Topic] = {}

    def judge(pmid: str, descriptor: Term, qualifier: Term | None, major: bool) -> None:
        # As spoken: "Arrhythmias, Cardiac" is "Cardiac Arrhythmias".
        key, text = descriptor.ui, " ".join(reversed(descriptor.name.split(", ")))
        if qualifier:
            key, text = key + qualifier.ui, f"{text} {qualifier.name}"
        new = Topic(key, descriptor.ui, text, qualifier is not None, {})
        grades = by_id.setdefault(key, new).grades
        grades[pmid] = max(grades.get(pmid, 1), 2 if major else 1)

    for pmid, headings in indexed:
        for descriptor, qualifiers in headings:
            judge(pmid, descriptor, None, descriptor.major or any(q.major for q in qualifiers))
            for qualifier in qualifiers:
                judge(pmid, descriptor, qualifier, descriptor.major or qualifier.major)
    return sorted(
        topic
        for topic in by_id.values()
        if min_relevant <= len(topic.grades) <= max_relevant and len(topic.major) >= min_major
    )


def split(
    topics: list[Topic], settings: MedlineSettings, trainable: list[Topic] | None = None
) -> dict[str, list[Topic]]:
    """Topics for training, validation and test; no two splits share a descriptor.

    Training takes all topics of its descriptors. Validation and test draw from their shares of the
    descriptors: one topic per descriptor, since topics of one descriptor are not independent, and
    none that is `nearly_the_same` as a training topic. Half of these topics have a qualifier, or
    fewer if too few descriptors have such a topic.

    Args:
        trainable: the topics to train on, in place of `topics`: their bounds may be wider.
    Raises:
        InputError: if a share has too few topics.
    """
    rng = random.Random(settings.seed)
    descriptors = sorted({topic.descriptor for topic in topics})
    rng.shuffle(descriptors)
    n_test = round(settings.test_share * len(descriptors))
    n_valid = round(settings.valid_share * len(descriptors))
    test, valid = descriptors[:n_test], descriptors[n_test : n_test + n_valid]
    held_out = {*test, *valid}
    train = [t for t in trainable or topics if t.descriptor not in held_out]
    known = nearly_the_same([t for t in topics if t.descriptor in held_out], train)
    topics_of: dict[str, list[Topic]] = {}
    for topic in topics:
        if topic.id not in known:
            topics_of.setdefault(topic.descriptor, []).append(topic)

    def sample(name: str, share: list[str], count: int) -> list[Topic]:
        qualified = [d for d in share if any(t.has_qualifier for t in topics_of.get(d, ()))]
        paired = rng.sample(qualified, min(count // 2, len(qualified)))
        chosen = [rng.choice([t for t in topics_of[d] if t.has_qualifier]) for d in paired]
        rest = {*share} - {*paired}
        plain = [t for d in share if d in rest for t in topics_of.get(d, ()) if not t.has_qualifier]
        available = len(chosen) + len(plain)
        if available < count:
            raise InputError(
                f"params.yaml: data.medline.{name}_topics: {count} topics of different descriptors "
                f"are needed, but their share has only {available}; lower it, raise "
                f"data.medline.{name}_share or widen the bounds on relevant citations"
            )
        return sorted(chosen + rng.sample(plain, count - len(chosen)))

    return {
        "train": train,
        "valid": sample("valid", valid, settings.valid_topics),
        "test": sample("test", test, settings.test_topics),
    }


def nearly_the_same(topics: list[Topic], others: list[Topic]) -> set[str]:
    """The ids of the topics that have nearly the same relevant passages as one of `others`."""
    nearest = nearest_overlap(
        {topic.id: topic.grades.keys() for topic in topics},
        {topic.id: topic.grades.keys() for topic in others},
    )
    return {topic_id for topic_id, overlap in nearest.items() if overlap >= NEARLY_THE_SAME}


def nearest_overlap(
    topics: Mapping[str, Collection[str]], others: Mapping[str, Collection[str]]
) -> dict[str, float]:
    """For each topic, the greatest Jaccard index of its passages and those of one of `others`.

    Args:
        topics, others: {topic id: ids of the relevant passages}.
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


def summary(topics: list[Topic]) -> dict[str, int]:
    """Counts of one split, for the manifest."""
    return {
        "descriptors": sum(not t.has_qualifier for t in topics),
        "pairs": sum(t.has_qualifier for t in topics),
        "judgments": sum(len(t.grades) for t in topics),
        "judgments_of_grade_2": sum(len(t.major) for t in topics),
    }
