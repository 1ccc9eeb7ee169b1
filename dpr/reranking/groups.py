"""The groups that a cross-encoder trains on: relevant passages of a query, and mined negatives.

Negatives of the rankers that it will rerank make it better than random ones (Gao et al. 2021,
https://arxiv.org/abs/2101.08751).
"""

import hashlib
import random
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from dpr.records.types import RELEVANT, Pair, Qrels, is_relevant
from dpr.settings import RerankTrainSettings


class Group(NamedTuple):
    """Passages of one query and their grades; a negative has 0."""

    query_id: str
    passage_ids: tuple[str, ...]
    grades: tuple[int, ...]


def sample_pairs(pairs: Sequence[Pair], options: RerankTrainSettings, seed: int) -> list[Pair]:
    """The pairs of all steps, one per query and epoch; all queries equally often."""
    by_query: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_query.setdefault(pair.query_id, []).append(pair)
    rng = random.Random(seed)
    sampled: list[Pair] = []
    while len(sampled) < options.steps * options.batch_size:
        for query_id in rng.sample(list(by_query), len(by_query)):
            sampled.append(rng.choice(by_query[query_id]))
    return sampled[: options.steps * options.batch_size]


def grouped(
    pairs: Iterable[Pair],
    qrels: Qrels,
    texts: Container[str],
    options: RerankTrainSettings,
    seed: int,
    passage_of: Callable[[str], str] = str,
) -> list[Group]:
    """Each pair's passage, different relevant passages of its query, then its negatives.

    Args:
        pairs: a pair without negatives makes no group.
        qrels: a pair's passage without a grade there has the lowest relevant one.
        texts: the passages that exist.
        passage_of: the passage of a document of the qrels, if documents are cut.
    """
    rng = random.Random(seed)
    groups = []
    for query_id, own, negatives in pairs:
        judged = qrels.get(query_id, {})
        named = {passage_of(d): grade for d, grade in judged.items() if is_relevant(grade)}
        grades = {p: grade for p, grade in named.items() if p in texts}
        own_grade = grades.pop(own, RELEVANT)
        drawn = rng.sample(list(grades), min(options.relevant - 1, len(grades)))
        negatives = negatives[: options.passages - 1 - len(drawn)]
        if negatives:
            all_grades = (own_grade, *(grades[p] for p in drawn), *(0 for _ in negatives))
            groups.append(Group(query_id, (own, *drawn, *negatives), all_grades))
    return groups


def fingerprint(
    groups: Iterable[Group], questions: Mapping[str, str], texts: Mapping[str, str]
) -> str:
    """A digest of everything that a training reads in these groups."""
    digest = hashlib.sha256()
    for query_id, passage_ids, grades in groups:
        read = questions[query_id], [texts[p] for p in passage_ids], grades
        digest.update(repr(read).encode())
    return digest.hexdigest()
