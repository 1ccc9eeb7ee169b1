"""Fusing two runs: by reciprocal rank, or by a weighted sum of scores. trectools checks both."""

from collections.abc import Iterable
from itertools import compress

import numpy as np

from dpr import measures
from dpr.records.ranking import ranking
from dpr.records.types import Qrels, Run


def reciprocal_rank(first: Run, second: Run, k: int, depth: int) -> Run:
    """Sum of 1 / (k + rank) over the runs (Cormack et al. 2009).

    Ranks are trec_eval's.
    """
    sums = _sums(_reciprocal(first, k), _reciprocal(second, k), 1.0, 1.0)
    return {query_id: _best(added, depth) for query_id, added in sums}


def weighted(first: Run, second: Run, weight: float, depth: int) -> Run:
    """weight * first + (1 - weight) * second, of scores scaled to 0..1 within each topic.

    The convex combination of Bruch et al. 2023 (https://arxiv.org/abs/2210.11934). A document that
    a run lacks scores 0 in it, as its last one does.
    """
    sums = _sums(scaled(first), scaled(second), weight, 1 - weight)
    return {query_id: _best(added, depth) for query_id, added in sums}


def choose_weight(
    first: Run, second: Run, weights: list[float], qrels: Qrels
) -> dict[float, float]:
    """The headline measure of each weight over the judged topics. Give it validation topics."""
    first, second = scaled(first), scaled(second)
    tried = {}
    for weight in weights:
        sums = _sums(first, second, weight, 1 - weight)
        run = {query_id: _best(added, measures.HEADLINE_DEPTH) for query_id, added in sums}
        tried[weight] = measures.headline(qrels, run)
    return tried


def scaled(run: Run) -> Run:
    """Scores scaled to 0..1 within each topic; equal scores are all 0."""
    result: Run = {}
    for query_id, scores in run.items():
        if not scores:  # a query without a match
            result[query_id] = {}
            continue
        lowest, highest = min(scores.values()), max(scores.values())
        width = (highest - lowest) or 1.0
        result[query_id] = {p: (score - lowest) / width for p, score in scores.items()}
    return result


def _reciprocal(run: Run, k: int) -> Run:
    return {
        query_id: {p: 1 / (k + rank) for rank, (p, _) in enumerate(ranking(scores), 1)}
        for query_id, scores in run.items()
    }


def _sums(
    first: Run, second: Run, weight: float, other: float
) -> Iterable[tuple[str, dict[str, float]]]:
    for query_id in first | second:
        ours, theirs = first.get(query_id, {}), second.get(query_id, {})
        added = {p: weight * score for p, score in ours.items()}
        for p, score in theirs.items():
            added[p] = added.get(p, 0.0) + other * score
        yield query_id, added


def _best(scores: dict[str, float], depth: int) -> dict[str, float]:
    """The first `depth` documents in trec_eval's order."""
    if len(scores) <= depth:
        return scores
    rounded = np.fromiter(scores.values(), np.float32, len(scores))
    last = np.partition(rounded, -depth)[-depth]
    return dict(ranking(dict(compress(scores.items(), rounded >= last)))[:depth])
