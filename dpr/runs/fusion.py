"""Fusing two runs: by reciprocal rank, or by a weighted sum of scores. trectools checks both."""

from dataclasses import dataclass

import numpy as np
import pyarrow

from dpr import measures
from dpr.base.errors import InputError
from dpr.records.run import Run, ascending_places
from dpr.records.types import Qrels, RunLike

# The lowest scores of the first and the second retriever, for passages they do not find; None if
# unknown. BM25 scores 0 without a shared word. Cosines lie far above their minimum -1, which
# docs/measures.md found no better than None, and worse at equal weights.
Minima = tuple[float | None, float | None]
UNKNOWN: Minima = (None, None)
DENSE_AND_BM25: Minima = (None, 0.0)


@dataclass(frozen=True)
class Fusion:
    """Two runs with their rows joined by topic and id: U rows, one if both runs found a passage.

    Args:
        ids: the different passage ids of both runs, ascending.
        topics, passages: (U,) int64, positions in `query_ids` and `ids`.
        places: for each row of the first and of the second run, its joined row.
        minima: see `scaled`.
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
    def of(cls, first: RunLike, second: RunLike, *, minima: Minima = UNKNOWN) -> "Fusion":
        first, second = Run.of(first), Run.of(second)
        query_ids = list(dict.fromkeys([*first.query_ids, *second.query_ids]))
        topic_of = {query_id: topic for topic, query_id in enumerate(query_ids)}
        both = pyarrow.concat_arrays([first.ids, second.ids]).dictionary_encode()
        places = ascending_places(both.dictionary)
        ids = both.dictionary.take(np.argsort(places))
        passages_of = np.split(places[both.indices.to_numpy()], [len(first.ids)])
        keys = []
        for run, passage_of in zip((first, second), passages_of, strict=True):
            topics = np.array([topic_of[query_id] for query_id in run.query_ids], np.int64)
            keys.append(topics[run.topics] * len(ids) + passage_of[run.passages])
        joined, places = np.unique(np.concatenate(keys), return_inverse=True)
        of_first, of_second = np.split(places, [len(first.scores)])
        topics, passages = np.divmod(joined, max(1, len(ids)))
        rows = (topics, passages, (of_first, of_second))
        return cls(first, second, query_ids, ids, *rows, minima)

    def reciprocal_rank(self, k: int, depth: int) -> Run:
        """Sum of 1 / (k + rank) over the runs, with trec_eval's ranks (Cormack et al. 2009)."""
        return self._summed(1 / (k + self.first.ranks), 1 / (k + self.second.ranks), depth)

    def weighted(self, weight: float, depth: int) -> Run:
        """weight * first + (1 - weight) * second, of `scaled` scores.

        The convex combination of Bruch et al. 2023 (https://arxiv.org/abs/2210.11934).
        """
        first = weight * scaled(self.first, self.minima[0])
        second = (1 - weight) * scaled(self.second, self.minima[1])
        return self._summed(first, second, depth)

    def choose_weight(self, weights: list[float], qrels: Qrels) -> dict[float, float]:
        """The primary measure of each weight over the judged topics. Give it validation topics."""
        depth = measures.PRIMARY_DEPTH
        return {w: measures.mean_primary_measure(qrels, self.weighted(w, depth)) for w in weights}

    def _summed(self, first: np.ndarray, second: np.ndarray, depth: int) -> Run:
        """The first `depth` passages of each topic by the sum of the runs' values."""
        sums = np.zeros(len(self.topics))
        sums[self.places[0]] += first
        sums[self.places[1]] += second
        rows = self._best(sums.astype(np.float32), depth)
        columns = (self.topics[rows], self.ids, self.passages[rows], sums[rows])
        run = Run.of_rows(self.query_ids, *columns, ascending=True)
        return run.first(depth)

    def _best(self, sums: np.ndarray, depth: int) -> np.ndarray:
        """(U,) bool: whether a row is among its topic's `depth` best, or tied with the last."""
        best = np.ones(len(sums), bool)
        ends = np.cumsum(np.bincount(self.topics, minlength=len(self.query_ids)))
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            if end - start > depth:
                of_topic = sums[start:end]
                best[start:end] = of_topic >= np.partition(of_topic, -depth)[-depth]
        return best


def best_weight(tried: dict[float, float], default: float) -> float:
    """The weight with the best measure, nearest to `default` if tied; without any, `default`."""
    return max(tried, key=lambda weight: (tried[weight], -abs(weight - default)), default=default)


def scaled(run: Run, minimum: float | None) -> np.ndarray:
    """(R,) float64 scores, scaled within each topic: 1 for the best passage, 0 for one not found.

    Args:
        minimum: the score of a passage not found. If None, it is assumed to lie below the topic's
            last score by the mean step between neighbors. The last of n passages then has 1 / n;
            if all scores are equal, all are 1.
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
