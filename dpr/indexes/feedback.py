"""Pseudo-relevance feedback: queries move toward the first passages that they find.

The vector PRF of Li et al. 2021 (https://arxiv.org/abs/2108.11044); pyserini's `--prf-method avg`,
and its `rocchio` with gamma 0.
"""

import numpy as np
import torch

from dpr.indexes.exact_search import cut
from dpr.indexes.index import Index
from dpr.records.documents import document_of
from dpr.records.run import search_depth
from dpr.records.types import Query
from dpr.settings import SearchSettings
from dpr.similarity import SIMILARITIES


def with_feedback(
    index: Index,
    queries: list[Query],
    vectors: np.ndarray,
    settings: SearchSettings,
    documents: bool = False,
) -> np.ndarray:
    """(Q, D) float32 vectors for the search that makes the run.

    They are made of whole passage vectors; the index truncates them if necessary. For cosine they
    have norm 1. A query that finds nothing stays as it is; so do all without a feedback method.

    Args:
        vectors: (Q, D) float32 from the encoder.
        documents: whether documents are cut into the passages.
    """
    feedback = settings.feedback
    if feedback.method is None:
        return vectors
    embeddings = index.embeddings
    similarity = SIMILARITIES[embeddings.manifest["similarity"]]
    # As deep as the run: then an approximate index finds the passages of the run.
    depth = search_depth(settings.top_k, {query.id: query for query in queries})
    scores, rows = index.search(
        vectors, depth, settings.nprobe, settings.ef_search, settings.rescore
    )
    for number, query in enumerate(queries):
        if query.is_passage:  # it is never its own result
            ids = [embeddings.ids[row] if row >= 0 else "" for row in rows[number].tolist()]
            own = [(document_of(name) if documents else name) == query.id for name in ids]
            scores[number, own], rows[number, own] = -np.inf, -1
    moved = vectors.copy()
    for number, first in enumerate(cut(scores, rows, feedback.passages, embeddings.ids)[1]):
        found = first[first >= 0]
        if len(found):
            share = len(found) / (len(found) + 1)
            alpha, beta = feedback.alpha, feedback.beta
            if feedback.method == "mean":
                alpha, beta = 1 - share, share
            mean = embeddings.take(found).mean(axis=0)
            vector = torch.from_numpy(alpha * vectors[number] + beta * mean)
            moved[number] = similarity.vectors(vector).numpy()
    return moved
