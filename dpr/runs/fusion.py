"""Fusing two runs: by reciprocal rank, or by a weighted sum of scores. trectools checks both.

`scaled` decides what a score is worth in the sum, and that a passage that was not found is worth 0.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow

from dpr import measures
from dpr.base.errors import InputError
from dpr.records.run import Run, ascending_order
from dpr.records.types import Found, Qrels

Minima = tuple[float | None, float | None]
UNKNOWN: Minima = (None, None)
# BM25 gives 0 to a passage without a word of the query. Cosines have the minimum -1, but lie so far
# above it that docs/measures.md found it no better, and worse at equal weights.
DENSE_AND_BM25: Minima = (None, 0.0)


@dataclass(frozen=True)
class Fusion:
    """Two runs with their U rows together, by topic and id: a passage that both found is one row.

    Args:
        ids: in ascending order.
        topics, passages: (U,) int64.
        places: of each row of the first and of the second run, its row here.
        minima: the score that the first and the second retriever give to what they do not find;
            None: unknown. See `scaled`.
    """

    first: Run
    second: Run
    query_ids: list[str]
    ids: "pyarrow.StringArray"
    topics: np.ndarray
    passages: np.ndarray
    places: tuple[np.ndarray, np.ndarray]
    minima: Minima

    @classmethod
    def of(cls, first: Found, second: Found, *, minima: Minima = UNKNOWN) -> "Fusion":
        first, second = Run.of(first), Run.of(second)
        query_ids = list(dict.fromkeys([*first.query_ids, *second.query_ids]))
        topic_of = {query_id: topic for topic, query_id in enumerate(query_ids)}
        both = pyarrow.concat_arrays([first.ids, second.ids]).dictionary_encode()
        new = ascending_order(both.dictionary)  # sums are often tied
        ids = both.dictionary.take(np.argsort(new))
        of_first, of_second = np.split(new[both.indices.to_numpy()], [len(first.ids)])
        keys = []
        for run, passage_of in ((first, of_first), (second, of_second)):
            topics = np.array([topic_of[query_id] for query_id in run.query_ids], np.int64)
            keys.append(topics[run.topics] * len(ids) + passage_of[run.passages])
        joined = np.concatenate(keys)
        rows = np.argsort(joined, kind="stable")
        joined = joined[rows]
        begins = np.append(True, joined[1:] != joined[:-1])[: len(joined)]
        places = np.empty(len(joined), np.int64)
        places[rows] = np.cumsum(begins) - 1
        topics, passages = np.divmod(joined[begins], max(1, len(ids)))
        ours, theirs = np.split(places, [len(first.scores)])
        return cls(first, second, query_ids, ids, topics, passages, (ours, theirs), minima)

    def reciprocal_rank(self, k: int, depth: int) -> Run:
        """Sum of 1 / (k + rank) over the runs (Cormack et al. 2009).

        Ranks are trec_eval's.
        """
        return self._summed(1 / (k + self.first.ranks), 1 / (k + self.second.ranks), depth)

    def weighted(self, weight: float, depth: int) -> Run:
        """weight * first + (1 - weight) * second, of `scaled` scores.

        The convex combination of Bruch et al. 2023 (https://arxiv.org/abs/2210.11934).
        """
        ours = weight * scaled(self.first, self.minima[0])
        theirs = (1 - weight) * scaled(self.second, self.minima[1])
        return self._summed(ours, theirs, depth)

    def choose_weight(self, weights: list[float], qrels: Qrels) -> dict[float, float]:
        """The headline measure of each weight over the judged topics. Give it validation topics."""
        depth = measures.HEADLINE_DEPTH
        return {w: measures.headline(qrels, self.weighted(w, depth)) for w in weights}

    def _summed(self, ours: np.ndarray, theirs: np.ndarray, depth: int) -> Run:
        """The first `depth` passages of each topic by the sum of two values."""
        sums = np.zeros(len(self.topics))
        sums[self.places[0]] += ours
        sums[self.places[1]] += theirs
        kept = self._can_be_among(sums.astype(np.float32), depth)
        topics, passages = self.topics[kept], self.passages[kept]
        run = Run.of_rows(self.query_ids, topics, self.ids, passages, sums[kept], ascending=True)
        return run.first(depth)

    def _can_be_among(self, sums: np.ndarray, depth: int) -> np.ndarray:
        """(U,) bool: whether a row is among its topic's `depth` best, or tied with the last."""
        kept = np.ones(len(sums), bool)
        ends = np.cumsum(np.bincount(self.topics, minlength=len(self.query_ids)))
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            if end - start > depth:
                some = sums[start:end]
                kept[start:end] = some >= np.partition(some, -depth)[-depth]
        return kept


def best_weight(tried: dict[float, float], default: float) -> float:
    """The weight with the best measure; of equal ones the nearest to `default`, also if none is."""
    return max(tried, key=lambda weight: (tried[weight], -abs(weight - default)), default=default)


def scaled(run: Run, minimum: float | None) -> np.ndarray:
    """(R,) float64 scores, scaled within each topic: the best is 1, and not found would be 0.

    Args:
        minimum: the score of what was not found. None: unknown, taken to be as far below the
            topic's last score as its neighbours are from each other in the mean. The last of n is
            then 1 / n; if all are equal, all are 1.
    Raises:
        InputError: for a score below the minimum.
    """
    lengths = np.diff(run.bounds)
    starts, lengths = run.bounds[:-1][lengths > 0], lengths[lengths > 0]
    scores = run.scores.astype(np.float64)
    highest, last = scores[starts], scores[starts + lengths - 1]  # rows are in order
    if minimum is None:
        step = (highest - last) / np.maximum(lengths - 1, 1)
        lowest = last - np.where(step > 0, step, 1.0)
    elif (last >= minimum).all():
        lowest = np.full(len(last), minimum)
    else:
        raise InputError(f"a run to fuse has the score {last.min():g}, below its minimum {minimum}")
    width = np.where(highest > lowest, highest - lowest, 1.0)
    return (scores - np.repeat(lowest, lengths)) / np.repeat(width, lengths)
