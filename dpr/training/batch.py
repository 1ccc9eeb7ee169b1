"""What one loss is computed over: queries, passages, and which answers which."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from dpr.encoders.tokens import Tokens

Id = Any  # of a query or passage: text, or a row number
Scores = dict[Id, float]  # {passage: score}


class Drawn(NamedTuple):
    """A pair in a batch, with the hard negatives drawn for it."""

    query_id: Id
    passage_id: Id
    negative_ids: Sequence[Id] = ()


class Targets(NamedTuple):
    """For B pairs: which passages are relevant to which queries, and what the teacher says.

    Each query and each passage comes once.
    """

    query_ids: list[Id]  # Q
    passage_ids: list[Id]  # P
    pairs: torch.Tensor  # (B, 2) int64: row and column of each pair's query and passage
    relevant: torch.Tensor  # (Q, P) bool
    negatives: torch.Tensor | None = None  # (B, P) bool: the hard negatives drawn for each pair
    teacher: torch.Tensor | None = None  # (Q, P) float32; NaN: the teacher gave no score
    # (P,) float32: of how many passages each stands for, if they are a sample of more
    log_weights: torch.Tensor | None = None

    def to(self, device: torch.device) -> "Targets":
        def moved(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor.to(device)

        return self._replace(
            pairs=self.pairs.to(device),
            relevant=self.relevant.to(device),
            negatives=moved(self.negatives),
            teacher=moved(self.teacher),
            log_weights=moved(self.log_weights),
        )


@dataclass(frozen=True)
class Batch:
    queries: list[Tokens]  # Q
    passages: list[Tokens] | torch.Tensor  # P texts to encode, or the (P, D) vectors of passages
    targets: Targets

    @property
    def token_count(self) -> int:
        passages = [] if isinstance(self.passages, torch.Tensor) else self.passages
        return sum(map(len, self.queries)) + sum(map(len, passages))


def passages_of(pairs: Iterable[Drawn]) -> list[Id]:
    """The passages of some pairs: their own first, then the other hard negatives."""
    pairs = list(pairs)
    own = dict.fromkeys(pair.passage_id for pair in pairs)
    return list(own | dict.fromkeys(p for pair in pairs for p in pair.negative_ids))


def targets_of(
    pairs: Sequence[Drawn],
    columns: Sequence[Id],
    relevant_to: Callable[[Id], Iterable[Id]],
    teacher: Callable[[Id], Scores] | None = None,
) -> Targets:
    """The targets of some pairs over the passages `columns`, which hold all of theirs.

    Args:
        relevant_to: the relevant passages of a query; duplicates of them are relevant too.
        teacher: the passages that a teacher scored for a query.
    """
    rows = {q: i for i, q in enumerate(dict.fromkeys(pair.query_id for pair in pairs))}
    column_of = {p: i for i, p in enumerate(columns)}
    at = [(rows[pair.query_id], column_of[pair.passage_id]) for pair in pairs]
    relevant = torch.zeros(len(rows), len(columns), dtype=torch.bool)
    negatives = torch.zeros(len(pairs), len(columns), dtype=torch.bool)
    scores = torch.full(relevant.shape, torch.nan) if teacher else None
    for query_id, row in rows.items():
        relevant[row, [column_of[p] for p in relevant_to(query_id) if p in column_of]] = True
        if teacher and scores is not None:
            given = {column_of[p]: s for p, s in teacher(query_id).items() if p in column_of}
            scores[row, list(given)] = torch.tensor(list(given.values()), dtype=torch.float32)
    for row, pair in enumerate(pairs):
        relevant[at[row]] = True
        negatives[row, [column_of[p] for p in pair.negative_ids]] = True
    return Targets(list(rows), list(columns), torch.tensor(at), relevant, negatives, scores)
