"""Searching an index for the passages of each query."""

import numpy as np

from dpr.indexes.artifact import Index
from dpr.indexes.exact import as_run
from dpr.measures import Run


def search(
    index: Index,
    query_ids: list[str],
    vectors: np.ndarray,
    top_k: int,
    nprobe: int | None = None,
    ef: int | None = None,
) -> Run:
    """The `top_k` best passages of each query; fewer where the index finds fewer.

    Args:
        vectors: (Q, D) float32 query vectors of the encoder that made the index.
        nprobe, ef: see `Index.search`.
    Returns: scores by query and passage, higher is better for every similarity.
    """
    scores, rows = index.search(vectors, top_k, nprobe, ef)
    return as_run(query_ids, scores, rows, index.ids)
