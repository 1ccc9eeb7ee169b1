"""Exact search over embeddings, without an index: what every index is audited against."""

import faiss
import numpy as np
import pyarrow

from dpr.embeddings.artifact import Embeddings
from dpr.records.run import Run
from dpr.similarity import SIMILARITIES, scores_of_faiss

CHUNK = 65_536  # vectors compared at a time


def exact_search(
    embeddings: Embeddings, queries: np.ndarray, top_k: int, dimension: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and row numbers of the best passages: (Q, K) float32 and int64, best first.

    Args:
        queries: (Q, D) float32.
        dimension: compare only the first components of all vectors; None: all.
    """
    similarity = SIMILARITIES[embeddings.manifest["similarity"]]
    queries = similarity.truncate(queries, dimension)
    count = len(embeddings.ids)
    top_k = min(top_k, count)
    best = np.full((len(queries), 0), -np.inf, dtype=np.float32)
    rows = np.zeros((len(queries), 0), dtype=np.int64)
    for start in range(0, count, CHUNK):
        chunk = similarity.truncate(embeddings.read(start, start + CHUNK), dimension)
        flat = faiss.IndexFlat(chunk.shape[1], similarity.metric)
        flat.add(chunk)
        distances, found = flat.search(queries, min(top_k, len(chunk)))
        best = np.hstack([best, scores_of_faiss(distances, similarity.metric)])
        rows = np.hstack([rows, found + start])
        order = np.argsort(-best, axis=1, kind="stable")[:, :top_k]
        best, rows = np.take_along_axis(best, order, 1), np.take_along_axis(rows, order, 1)
    return best, rows


def as_run(query_ids: list[str], scores: np.ndarray, rows: np.ndarray, ids: list[str]) -> Run:
    """(Q, K) scores and row numbers -> a run. FAISS pads with row -1, which is left out."""
    found = rows >= 0
    topics = np.repeat(np.arange(len(query_ids)), found.sum(axis=1))
    different, passages = np.unique(rows[found], return_inverse=True)
    names = pyarrow.array([ids[row] for row in different.tolist()], pyarrow.string())
    return Run.of_rows(query_ids, topics, names, passages, scores[found])
