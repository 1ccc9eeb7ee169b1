"""Searching an index for the passages of each query."""

import numpy as np

from dpr.errors import InputError
from dpr.index import Index
from dpr.measures import Run
from dpr.similarity import SIMILARITIES


def search(index: Index, query_ids: list[str], vectors: np.ndarray, top_k: int) -> Run:
    """The `top_k` best passages of each query; fewer where the index finds fewer.

    Args:
        vectors: (Q, D) float32 query vectors of the encoder that made the index; they are cut to
            the dimension of the index.
    Returns: scores by query and passage, higher is better for every similarity.
    Raises:
        InputError: when the vectors do not fit the index.
    """
    whole = index.manifest["vector_dimension"]
    if vectors.shape[1] != whole:
        raise InputError(
            f"query vectors of {vectors.shape[1]} dimensions, but the index was made of vectors of "
            f"{whole}: they come from different encoders"
        )
    similarity = SIMILARITIES[index.manifest["similarity"]]
    if index.faiss_index.d != whole:
        vectors = similarity.cut(vectors, index.faiss_index.d)
    distances, rows = index.faiss_index.search(vectors, min(top_k, len(index.ids)))
    scores = similarity.scores_of_faiss(distances)
    return {
        # FAISS pads with row -1 where it finds fewer: ids[-1] would be the last passage.
        query_id: {index.ids[row]: float(s) for row, s in zip(found, best, strict=True) if row >= 0}
        for query_id, found, best in zip(query_ids, rows, scores, strict=True)
    }
