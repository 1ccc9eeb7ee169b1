"""Inner products as distances, for kinds that only know distances.

Cells, graphs and signs compare badly by raw inner product: a long vector is near to everything.
One more component makes all passages equally long, and then the nearest is the one of the highest
inner product (Bachrach et al. 2014, "Speeding Up the Xbox Recommender System Using a Euclidean
Transformation for Inner-Product Spaces"): a passage p becomes (p, sqrt(M^2 - |p|^2)), M the
greatest length, and a query q becomes (q, 0), so that |q' - p'|^2 = |q|^2 + M^2 - 2 q.p.
"""

import numpy as np


def passages(vectors: np.ndarray, greatest: float, width: int) -> np.ndarray:
    """(N, D) float32, none longer than `greatest` -> (N, width), zeros beyond D + 1."""
    count, dimension = vectors.shape
    made = np.zeros((count, width), dtype=np.float32)
    made[:, :dimension] = vectors
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    made[:, dimension] = np.sqrt(np.maximum(greatest**2 - squares, 0))
    return made


def queries(vectors: np.ndarray, width: int) -> np.ndarray:
    """(Q, D) float32 -> (Q, width)."""
    made = np.zeros((len(vectors), width), dtype=np.float32)
    made[:, : vectors.shape[1]] = vectors
    return made


def scores(distances: np.ndarray, vectors: np.ndarray, greatest: float) -> np.ndarray:
    """(Q, K) squared distances and the (Q, D) queries -> (Q, K) inner products."""
    squares = np.einsum("qd,qd->q", vectors, vectors)[:, None]
    return (squares + greatest**2 - distances) / 2
