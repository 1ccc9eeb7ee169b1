"""FAISS indexes inside transforms and refinements, and inner products as distances.

Cells, graphs and signs rank badly by raw inner product: a vector with a large norm is close to
everything. An extra component gives all passages the same norm. Then the nearest passage has the
highest inner product (Bachrach et al. 2014, "Speeding Up the Xbox Recommender System Using a
Euclidean Transformation for Inner-Product Spaces"). With M the maximum norm:

    p' = (p, sqrt(M^2 - |p|^2))    q' = (q, 0)    |q' - p'|^2 = |q|^2 + M^2 - 2 q.p
"""

from typing import NamedTuple

import faiss
import numpy as np


def inner(index: faiss.Index) -> faiss.Index:
    """The index with cells or links, without transforms and refinements."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return inner(index.index)
    if isinstance(index, faiss.IndexRefine):
        return inner(index.base_index)
    return index


def can_be_merged(index: faiss.Index) -> bool:
    """Whether parts that were filled separately can be merged: cells can, refinements cannot."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return can_be_merged(index.index)
    return isinstance(index, faiss.IndexIVF)


class DotAsL2(NamedTuple):
    """The conversion between inner products and distances for one index."""

    max_norm: float  # of the passages
    width: int  # dimensions in the index: D + 1, then zeros

    def passages(self, vectors: np.ndarray) -> np.ndarray:
        """(N, D) float32 -> (N, width)."""
        padded = self.queries(vectors)
        squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
        padded[:, vectors.shape[1]] = np.sqrt(np.maximum(self.max_norm**2 - squares, 0))
        return padded

    def queries(self, vectors: np.ndarray) -> np.ndarray:
        """(Q, D) float32 -> (Q, width)."""
        padded = np.zeros((len(vectors), self.width), dtype=np.float32)
        padded[:, : vectors.shape[1]] = vectors
        return padded

    def scores(self, distances: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """(Q, K) squared distances and the (Q, D) queries -> (Q, K) inner products."""
        squares = np.einsum("qd,qd->q", vectors, vectors)[:, None]
        return (squares + self.max_norm**2 - distances) / 2
