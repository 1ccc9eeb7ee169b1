"""Batches: which pairs share one, and the targets of their loss."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from dpr.base.errors import InputError
from dpr.encoders.tokens import Tokens
from dpr.settings import TrainSettings
from dpr.training.loss import Id, Targets

Items = TypeVar("Items", np.ndarray, list)


class SampledPair(NamedTuple):
    """A pair in a batch, with the hard negatives drawn for it."""

    query_id: Id
    passage_id: Id
    negative_ids: Sequence[Id] = ()


@dataclass(frozen=True)
class Batch:
    queries: list[Tokens]  # Q
    passages: list[Tokens] | torch.Tensor  # P texts to encode, or their (P, D) vectors
    targets: Targets

    @property
    def token_count(self) -> int:
        passages = [] if isinstance(self.passages, torch.Tensor) else self.passages
        return sum(map(len, self.queries)) + sum(map(len, passages))


def passages_of(pairs: Sequence[SampledPair]) -> list[Id]:
    """The distinct passages of pairs: first the positives, then the hard negatives."""
    positives = dict.fromkeys(pair.passage_id for pair in pairs)
    return list(positives | dict.fromkeys(p for pair in pairs for p in pair.negative_ids))


def targets_of(
    pairs: Sequence[SampledPair],
    columns: Sequence[Id],
    relevant_to: Callable[[Id], Iterable[Id]],
    teacher: Callable[[Id], dict[Id, float]] | None = None,
) -> Targets:
    """The targets of a batch.

    Args:
        columns: the P passages of the batch, which include all passages of the pairs.
        relevant_to: a query's relevant passages, including duplicates of their texts.
        teacher: a query's {passage: score}.
    """
    rows = {q: i for i, q in enumerate(dict.fromkeys(pair.query_id for pair in pairs))}
    column_of = {p: i for i, p in enumerate(columns)}
    cells = [(rows[pair.query_id], column_of[pair.passage_id]) for pair in pairs]
    relevant = torch.zeros(len(rows), len(columns), dtype=torch.bool)
    negatives = torch.zeros(len(pairs), len(columns), dtype=torch.bool)
    scores = torch.full(relevant.shape, torch.nan) if teacher else None
    for query_id, row in rows.items():
        relevant[row, [column_of[p] for p in relevant_to(query_id) if p in column_of]] = True
        if teacher and scores is not None:
            given = {column_of[p]: s for p, s in teacher(query_id).items() if p in column_of}
            scores[row, list(given)] = torch.tensor(list(given.values()), dtype=torch.float32)
    for number, pair in enumerate(pairs):
        relevant[cells[number]] = True
        negatives[number, [column_of[p] for p in pair.negative_ids]] = True
    return Targets(list(rows), list(columns), torch.tensor(cells), relevant, negatives, scores)


GROUP_NAMES = {None: "pairs", "query": "queries", "passage": "passages"}


class Groups:
    """Pairs grouped by `group_by`, in the order of their first pair, and batches of groups.

    Args:
        pairs: (N, 2) rows of query and passage.
        source_of: (N,) number of each pair's source.
    """

    def __init__(self, pairs: np.ndarray, source_of: np.ndarray, settings: TrainSettings):
        self.settings, by = settings, settings.group_by
        keys = np.arange(len(pairs)) if by is None else pairs[:, 0 if by == "query" else 1]
        _, first, group_of = np.unique(keys, return_index=True, return_inverse=True)
        by_first_pair = np.argsort(np.argsort(first)).astype(np.int32)
        group_of = np.asarray(by_first_pair[group_of], np.int64)
        self._members = np.argsort(group_of, kind="stable").astype(np.int32)
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(group_of))])
        self.source_of = source_of[np.sort(first)]  # of each group
        self._by_source = [np.flatnonzero(self.source_of == n) for n in np.unique(self.source_of)]

    def __len__(self) -> int:
        return len(self._starts) - 1

    def members(self, group: int) -> np.ndarray:
        """The pairs of a group."""
        return self._members[self._starts[group] : self._starts[group + 1]]

    @property
    def batches_per_epoch(self) -> int:
        """Full batches only: a short one has fewer negatives, and so a lower loss.

        Raises:
            InputError: for too few groups, or a `mixture` that does not fit the sources.
        """
        self._require_enough()
        alone = self.settings.one_source and self.settings.mixture == "proportional"
        sizes = [len(groups) for groups in self._by_source] if alone else [len(self)]
        return sum(size // self.settings.batch_size for size in sizes)

    def batches(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """The groups of each batch, without end; errors as above."""
        self._require_enough()
        size, sources = self.settings.batch_size, self._by_source
        while self.settings.mixture == "proportional":
            if self.settings.one_source:
                epoch = [
                    b for groups in sources for b in full_batches(rng.permutation(groups), size)
                ]
                yield from (epoch[i] for i in rng.permutation(len(epoch)))
            else:
                yield from full_batches(rng.permutation(len(self)), size)
        endless = [_endless(groups, rng) for groups in sources]
        turns = self._turns(rng)
        while True:
            if self.settings.one_source:
                chosen = [next(turns)] * size
            else:
                chosen = list(itertools.islice(turns, size))
            yield np.array([next(endless[source]) for source in chosen])

    def _turns(self, rng: np.random.Generator) -> Iterator[int]:
        """The source of each group, or of each batch."""
        count, shares = len(self._by_source), self.settings.mixture
        if isinstance(shares, str):  # round_robin
            return itertools.cycle(range(count))
        exact = np.divide(shares, sum(shares))  # the settings accept sums near 1
        return (int(rng.choice(count, p=exact)) for _ in itertools.count())

    def _require_enough(self) -> None:
        settings, unit = self.settings, GROUP_NAMES[self.settings.group_by]
        sizes = [len(groups) for groups in self._by_source]
        if not isinstance(settings.mixture, str) and len(settings.mixture) != len(sizes):
            raise InputError(
                f"params.yaml: train.mixture: {len(settings.mixture)} shares for {len(sizes)} "
                "sources of training pairs (data.train)"
            )
        least = min(sizes, default=0) if settings.one_source else len(self)
        if least < settings.batch_size:
            where = " in one source" if settings.one_source and len(sizes) > 1 else ""
            raise InputError(
                f"params.yaml: train.batch_size is {settings.batch_size}, but there are only "
                f"{least} training {unit}{where}"
            )


def full_batches(order: Items, size: int) -> list[Items]:
    """Slices of `size` items. A short one at the end is dropped."""
    return [order[start : start + size] for start in range(0, len(order) - size + 1, size)]


def _endless(groups: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(groups).tolist()
