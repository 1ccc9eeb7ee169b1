"""Which groups of pairs make a batch: one order an epoch, or the sources of a mixture in turn."""

import itertools
from collections.abc import Iterator

import numpy as np

from dpr.base.errors import InputError
from dpr.settings import TrainSettings

GROUPS = {None: "pairs", "query": "queries", "passage": "passages"}  # group_by -> its plural


class Groups:
    """Pairs by query, by passage or each alone, in the order of their first pair.

    Args:
        pairs: (N, 2) rows of query and passage.
        source_of: (N,) the number of each pair's source.
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

    def __len__(self) -> int:
        return len(self._starts) - 1

    def members(self, group: int) -> np.ndarray:
        """The pairs of a group."""
        return self._members[self._starts[group] : self._starts[group + 1]]

    @property
    def batches_per_epoch(self) -> int:
        """Full batches in an epoch. The short one at its end is dropped.

        With fewer negatives its loss would be lower.

        Raises:
            InputError: for too few groups, and for shares that do not fit the sources.
        """
        self._require_enough()
        return sum(size // self.settings.batch_size for size in self._epoch_sizes())

    def _epoch_sizes(self) -> list[int]:
        """How many groups an epoch cuts into batches together: all, or those of each source."""
        alone = self.settings.one_source and self.settings.mixture == "proportional"
        return [len(own) for own in self._by_source()] if alone else [len(self)]

    def batches(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """The groups of each batch, without end; errors as above."""
        self._require_enough()
        size, sources = self.settings.batch_size, self._by_source()
        if self.settings.mixture == "proportional":
            while True:
                if self.settings.one_source:
                    epoch = [b for own in sources for b in _cut(rng.permutation(own), size)]
                    yield from (epoch[i] for i in rng.permutation(len(epoch)))
                else:
                    yield from _cut(rng.permutation(len(self)), size)
        endless = [_endless(own, rng) for own in sources]
        turns = self._turns(len(sources), rng)
        while True:
            if self.settings.one_source:
                chosen = [next(turns)] * size
            else:
                chosen = list(itertools.islice(turns, size))
            yield np.array([next(endless[source]) for source in chosen])

    def _turns(self, count: int, rng: np.random.Generator) -> Iterator[int]:
        shares = self.settings.mixture
        if isinstance(shares, str):  # round_robin
            return itertools.cycle(range(count))
        exact = np.divide(shares, sum(shares))  # the settings let them miss 1 by a little
        return (int(rng.choice(count, p=exact)) for _ in itertools.count())

    def _by_source(self) -> list[np.ndarray]:
        return [np.flatnonzero(self.source_of == n) for n in np.unique(self.source_of)]

    def _require_enough(self) -> None:
        settings, what = self.settings, GROUPS[self.settings.group_by]
        sizes = [len(own) for own in self._by_source()]
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
                f"{least} training {what}{where}"
            )


def _cut(order: np.ndarray, size: int) -> list[np.ndarray]:
    """Full batches of an order."""
    return [order[start : start + size] for start in range(0, len(order) - size + 1, size)]


def _endless(groups: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(groups).tolist()
