"""Fusing two runs: by reciprocal rank, or by a weighted sum of scores. trectools checks both."""

from dataclasses import dataclass

import numpy as np
import pyarrow

from dpr import measures
from dpr.records.run import Run, ascending_order
from dpr.records.types import Found, Qrels


@dataclass(frozen=True)
class Fusion:
    """Two runs with their U rows together, by topic and id: a passage that both found is one row.

    Args:
        ids: in ascending order.
        topics, passages: (U,) int64.
        places: of each row of the first and of the second run, its row here.
    """

    first: Run
    second: Run
    query_ids: list[str]
    ids: "pyarrow.StringArray"
    topics: np.ndarray
    passages: np.ndarray
    places: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, first: Found, second: Found) -> "Fusion":
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
        return cls(first, second, query_ids, ids, topics, passages, (ours, theirs))

    def reciprocal_rank(self, k: int, depth: int) -> Run:
        """Sum of 1 / (k + rank) over the runs (Cormack et al. 2009).

        Ranks are trec_eval's.
        """
        return self._summed(1 / (k + self.first.ranks), 1 / (k + self.second.ranks), depth)

    def weighted(self, weight: float, depth: int) -> Run:
        """weight * first + (1 - weight) * second, of scores scaled to 0..1 within each topic.

        The convex combination of Bruch et al. 2023 (https://arxiv.org/abs/2210.11934). A document
        that a run lacks scores 0 in it, as its last one does.
        """
        ours, theirs = weight * scaled(self.first), (1 - weight) * scaled(self.second)
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


def scaled(run: Run) -> np.ndarray:
    """(R,) float64 scores, scaled to 0..1 within each topic; equal scores are all 0."""
    lengths = np.diff(run.bounds)
    starts, lengths = run.bounds[:-1][lengths > 0], lengths[lengths > 0]
    scores = run.scores.astype(np.float64)
    highest, lowest = scores[starts], scores[starts + lengths - 1]  # rows are in order
    width = np.where(highest > lowest, highest - lowest, 1.0)
    return (scores - np.repeat(lowest, lengths)) / np.repeat(width, lengths)
