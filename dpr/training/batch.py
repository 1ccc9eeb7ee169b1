"""What one loss is computed over: queries, passages, and which answers which."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from dpr.encoders.tokens import Tokens
from dpr.records.types import Pair, Qrels, Query
from dpr.training.duplicates import NO_DUPLICATES, Duplicates


class Targets(NamedTuple):
    """For some pairs: which passages are relevant to which queries.

    Each query and each passage comes once; hard negatives come after all positives.
    """

    query_ids: list[str]  # Q
    passage_ids: list[str]  # P
    pairs: torch.Tensor  # (B, 2) int64: row and column of each pair's query and passage
    relevant: torch.Tensor  # (Q, P) bool


@dataclass(frozen=True)
class Batch:
    queries: list[Tokens]  # Q
    passages: list[Tokens]  # P
    targets: Targets

    @property
    def token_count(self) -> int:
        return sum(map(len, self.queries)) + sum(map(len, self.passages))


def with_own_passages(qrels: Qrels, queries: Iterable[Query]) -> Qrels:
    """The judgments, and the passages that are queries themselves, which are no negatives.

    Only for `targets_of`, never to measure with.
    """
    own = {query.id: {query.id: 1} for query in queries if query.is_passage}
    return qrels | {query_id: qrels.get(query_id, {}) | mine for query_id, mine in own.items()}


def targets_of(pairs: list[Pair], qrels: Qrels, duplicates: Duplicates = NO_DUPLICATES) -> Targets:
    """The targets of some pairs.

    A passage is relevant to a query if it is judged so, or is its passage in a pair. Duplicates
    count as one text.

    Args:
        qrels: as `duplicates.merge` returns them.
    """
    rows = {q: i for i, q in enumerate(dict.fromkeys(pair.query_id for pair in pairs))}
    positives = dict.fromkeys(pair.passage_id for pair in pairs)
    negatives = dict.fromkeys(p for pair in pairs for p in pair.negative_ids)
    columns = {p: i for i, p in enumerate(positives | negatives)}
    at = [(rows[pair.query_id], columns[pair.passage_id]) for pair in pairs]
    paired: dict[str, set[str]] = {}
    for pair in pairs:
        query, passage = duplicates.query(pair.query_id), duplicates.passage(pair.passage_id)
        paired.setdefault(query, set()).add(passage)
    columns_of: dict[str, list[int]] = {}
    for passage_id, column in columns.items():
        columns_of.setdefault(duplicates.passage(passage_id), []).append(column)
    relevant = torch.zeros(len(rows), len(columns), dtype=torch.bool)
    for query_id, row in rows.items():
        first = duplicates.query(query_id)
        grades = qrels.get(first, {})
        judged = {p for p in grades.keys() & columns_of.keys() if grades[p] > 0}
        for passage_id in judged | paired[first]:
            relevant[row, columns_of[passage_id]] = True
    return Targets(list(rows), list(columns), torch.tensor(at), relevant)
