"""Fusing two runs: by reciprocal rank, or by a weighted sum of scores. trectools checks both."""

from typing import NamedTuple

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


class _Union(NamedTuple):
    """The topics and passages of two runs: of each row of either, its place among those of both."""

    query_ids: list[str]
    ids: "pyarrow.StringArray"
    topics: list[np.ndarray]
    passages: list[np.ndarray]

    @classmethod
    def of(cls, first: Run, second: Run) -> "_Union":
        query_ids = list(dict.fromkeys([*first.query_ids, *second.query_ids]))
        topic_of = {query_id: topic for topic, query_id in enumerate(query_ids)}
        both = pyarrow.concat_arrays([first.ids, second.ids]).dictionary_encode()
        ids, places = ascending(both.dictionary)
        at = np.split(places[both.indices.to_numpy()], [len(first.ids)])
        topics, passages = [], []
        for run, places in zip((first, second), at, strict=True):
            topics.append(np.array([topic_of[q] for q in run.query_ids], np.int64)[run.topics])
            passages.append(places[run.passages])
        return cls(query_ids, ids, topics, passages)

    def fused(self, ours: np.ndarray, theirs: np.ndarray, depth: int) -> Run:
        """The first `depth` passages of each topic by the sum of two values."""
        width = max(1, len(self.ids))
        keys = np.concatenate(
            [t * width + p for t, p in zip(self.topics, self.passages, strict=True)]
        )
        ascending = np.argsort(keys, kind="stable")
        keys, values = keys[ascending], np.concatenate([ours, theirs])[ascending]
        twice = np.append(keys[1:] == keys[:-1], False)  # a key comes twice at most
        sums = values + np.where(twice, np.append(values[1:], 0.0), 0.0)
        new = np.append(True, ~twice[:-1]) if len(keys) else twice
        topics, passages = np.divmod(keys[new], width)
        return Run.of_rows(self.query_ids, topics, self.ids, passages, sums[new]).first(depth)
