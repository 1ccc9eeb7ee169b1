"""Exact scores, from the stored vectors, for candidates of an index with compressed vectors."""

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
    """The best `top_k` candidates by their exact scores: (Q, K) scores and rows.

    Args:
        queries: (Q, D) float32, truncated as in the index.
        rows: (Q, C) int64 candidates, C >= top_k; -1 is padding, also in the result.
        dimension: of the index, if it truncates vectors.
        memory: GiB for pairs of a query and a passage; a pair takes at most four vectors.
    """
    similarity = SIMILARITIES[embeddings.manifest["similarity"]]
    pairs_at_once = max(1, int(memory * 2**30) // (4 * 4 * embeddings.dimension))
    scores = np.full(rows.shape, -np.inf, np.float32)
    query_of, place_of = np.nonzero(rows >= 0)
    by_row = np.argsort(rows[query_of, place_of], kind="stable")  # read the file from start to end
    for start in range(0, len(by_row), pairs_at_once):
        pairs = by_row[start : start + pairs_at_once]
        query, place = query_of[pairs], place_of[pairs]
        distinct, passage = np.unique(rows[query, place], return_inverse=True)
        passages = similarity.truncate(embeddings.take(distinct), dimension)[passage]
        if similarity.metric == INNER_PRODUCT:
            scores[query, place] = np.einsum("pd,pd->p", queries[query], passages)
        else:
            gaps = np.abs(queries[query] - passages)
            scores[query, place] = -(gaps if similarity.metric == L1 else gaps**2).sum(axis=1)
    return cut(scores, rows, top_k, embeddings.ids)
