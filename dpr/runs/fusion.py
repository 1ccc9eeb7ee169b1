"""Fusing two runs: by reciprocal rank, or by a weighted sum of scores. trectools checks both."""

from dataclasses import dataclass

import numpy as np
import pyarrow

from dpr import measures
from dpr.records.run import Run, ascending
from dpr.records.types import Found, Qrels


def reciprocal_rank(first: Found, second: Found, k: int, depth: int) -> Run:
    """Sum of 1 / (k + rank) over the runs (Cormack et al. 2009).

    Ranks are trec_eval's.
    """
    first, second = Run.of(first), Run.of(second)
    return _Union.of(first, second).fused(1 / (k + first.ranks), 1 / (k + second.ranks), depth)


def weighted(first: Found, second: Found, weight: float, depth: int) -> Run:
    """weight * first + (1 - weight) * second, of scores scaled to 0..1 within each topic.

    The convex combination of Bruch et al. 2023 (https://arxiv.org/abs/2210.11934). A document that
    a run lacks scores 0 in it, as its last one does.
    """
    first, second = Run.of(first), Run.of(second)
    ours, theirs = weight * scaled(first), (1 - weight) * scaled(second)
    return _Union.of(first, second).fused(ours, theirs, depth)


def choose_weight(
    first: Found, second: Found, weights: list[float], qrels: Qrels
) -> dict[float, float]:
    """The headline measure of each weight over the judged topics. Give it validation topics."""
    first, second = Run.of(first), Run.of(second)
    union, ours, theirs = _Union.of(first, second), scaled(first), scaled(second)
    return {
        weight: measures.headline(
            qrels, union.fused(weight * ours, (1 - weight) * theirs, measures.HEADLINE_DEPTH)
        )
        for weight in weights
    }


def scaled(run: Run) -> np.ndarray:
    """(R,) float64 scores, scaled to 0..1 within each topic; equal scores are all 0."""
    scores, starts = run.scores.astype(np.float64), run.bounds[:-1]
    lengths = np.diff(run.bounds)
    filled = starts[lengths > 0]
    highest, lowest = scores[filled], scores[filled + lengths[lengths > 0] - 1]
    width = np.where(highest > lowest, highest - lowest, 1.0)
    return (scores - np.repeat(lowest, lengths[lengths > 0])) / np.repeat(
        width, lengths[lengths > 0]
    )


@dataclass(frozen=True)
class _Union:
    """The U rows of two runs together, by topic and id: a passage that both found is one row.

    Args:
        topics, passages: (U,) int64.
        places: of each row of the first and of the second run, its row here.
    """

    query_ids: list[str]
    ids: "pyarrow.StringArray"
    topics: np.ndarray
    passages: np.ndarray
    places: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, first: Run, second: Run) -> "_Union":
        query_ids = list(dict.fromkeys([*first.query_ids, *second.query_ids]))
        topic_of = {query_id: topic for topic, query_id in enumerate(query_ids)}
        both = pyarrow.concat_arrays([first.ids, second.ids]).dictionary_encode()
        ids, new = ascending(both.dictionary)
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
        return cls(query_ids, ids, topics, passages, (ours, theirs))

    def fused(self, ours: np.ndarray, theirs: np.ndarray, depth: int) -> Run:
        """The first `depth` passages of each topic by the sum of two values."""
        sums = np.zeros(len(self.topics))
        sums[self.places[0]] += ours
        sums[self.places[1]] += theirs
        kept = self._can_be_among(sums.astype(np.float32), depth)
        topics, passages = self.topics[kept], self.passages[kept]
        return Run.of_rows(self.query_ids, topics, self.ids, passages, sums[kept]).first(depth)

    def _can_be_among(self, sums: np.ndarray, depth: int) -> np.ndarray:
        """(U,) bool: whether a row is among its topic's `depth` best, or tied with the last."""
        counts = np.bincount(self.topics, minlength=len(self.query_ids))
        longest = max(counts, default=0)
        if longest <= depth:
            return np.ones(len(sums), bool)
        table = np.full((len(counts), longest), -np.inf, np.float32)
        table[np.arange(longest) < counts[:, None]] = sums
        last = np.partition(table, longest - depth, axis=1)[:, longest - depth]
        return sums >= last[self.topics]
