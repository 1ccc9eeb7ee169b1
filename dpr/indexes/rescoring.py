"""Scores from the stored vectors, for the passages that an index with compressed ones has found."""

import numpy as np

from dpr.embeddings.artifact import Embeddings
from dpr.indexes.exact_search import cut
from dpr.similarity import INNER_PRODUCT, L1, SIMILARITIES


def rescored(
    embeddings: Embeddings,
    queries: np.ndarray,
    rows: np.ndarray,
    top_k: int,
    dimension: int | None = None,
    memory: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """The best `top_k` of the found passages by their exact scores: (Q, K) scores and rows.

    Args:
        queries: (Q, D) float32, truncated as the index has them.
        rows: (Q, C) int64, C >= top_k; -1 where nothing was found, and in the result.
        dimension: of the index, if it truncates vectors.
        memory: GiB for pairs of a query and a passage, each at the most four vectors.
    """
    at_once = max(1, int(memory * 2**30) // (4 * 4 * embeddings.dimension))
    scores = np.full(rows.shape, -np.inf, np.float32)
    asked, places = np.nonzero(rows >= 0)
    by_row = np.argsort(rows[asked, places], kind="stable")  # the file is read in one direction
    for start in range(0, len(by_row), at_once):
        some = by_row[start : start + at_once]
        query, place = asked[some], places[some]
        scores[query, place] = _scores(embeddings, queries, query, rows[query, place], dimension)
    return cut(scores, rows, top_k, embeddings.ids)


def _scores(
    embeddings: Embeddings,
    queries: np.ndarray,
    asked: np.ndarray,
    rows: np.ndarray,
    dimension: int | None,
) -> np.ndarray:
    """(P,) scores of pairs."""
    similarity = SIMILARITIES[embeddings.manifest["similarity"]]
    different, place = np.unique(rows, return_inverse=True)
    passages = similarity.truncate(embeddings.take(different), dimension)[place]
    if similarity.metric == INNER_PRODUCT:
        return np.einsum("pd,pd->p", queries[asked], passages)
    apart = np.abs(queries[asked] - passages)
    return -(apart if similarity.metric == L1 else apart**2).sum(axis=1)
