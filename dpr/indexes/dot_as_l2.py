"""Inner products as distances, for cells, graphs and signs.

They rank badly by raw inner product, since a vector of large norm is near to
everything. One more component gives all passages the same norm, and then the nearest passage is the
one of the highest inner product (Bachrach et al. 2014, "Speeding Up the Xbox Recommender System
Using a Euclidean Transformation for Inner-Product Spaces"). With M the maximum norm:

    p' = (p, sqrt(M^2 - |p|^2))    q' = (q, 0)    |q' - p'|^2 = |q|^2 + M^2 - 2 q.p
"""

from typing import NamedTuple

import numpy as np


class DotAsL2(NamedTuple):
    """The conversion of one index, both ways."""

    max_norm: float  # of the passages
    width: int  # dimensions in the index: D + 1 or more, the rest zeros

    def passages(self, vectors: np.ndarray) -> np.ndarray:
        """(N, D) float32 -> (N, width)."""
        count, dimension = vectors.shape
        padded = np.zeros((count, self.width), dtype=np.float32)
        padded[:, :dimension] = vectors
        squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
        padded[:, dimension] = np.sqrt(np.maximum(self.max_norm**2 - squares, 0))
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
