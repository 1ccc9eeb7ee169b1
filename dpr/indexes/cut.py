"""The best passages of each query, whatever order they were compared in.

Equal scores are in the order that trec_eval gives them, by id, descending. So a passage that is
tied with the last place is kept or left out by its id, for each kind of index, size of chunk and
number of processes.
"""

import heapq
from collections.abc import Sequence

import numpy as np


def cut(
    scores: np.ndarray, rows: np.ndarray, top_k: int, ids: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The first `top_k` by score, then by id: (Q, K) float32 and int64, equal scores by row.

    Args:
        scores: (Q, C) float32; all that is tied with the last place must be among them.
        rows: (Q, C) int64, different ones in a row; -1 for nothing, with a score of -infinity.
        ids: of all rows of the corpus. Only those of tied rows are read.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, rows = (np.take_along_axis(part, order, 1) for part in (scores, rows))
    for query in np.flatnonzero(is_open(scores, top_k)):
        tied = np.flatnonzero(scores[query] == scores[query, top_k - 1])
        kept = last_ids(rows[query, tied], top_k - tied[0], ids)
        rows[query, tied[0] : top_k] = kept
    scores, rows = scores[:, :top_k], rows[:, :top_k]
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def is_open(ranked: np.ndarray, top_k: int) -> np.ndarray:
    """(Q, C) scores, the best first -> (Q,) bool: whether a tie goes beyond the last place."""
    if ranked.shape[1] <= top_k:
        return np.zeros(len(ranked), bool)
    last = ranked[:, top_k - 1]
    return (last == ranked[:, top_k]) & np.isfinite(last)


def last_ids(rows: np.ndarray, count: int, ids: Sequence[str]) -> list[int]:
    """So many of the rows, those whose ids come last."""
    return heapq.nlargest(count, rows.tolist(), key=ids.__getitem__)
