"""The index inside a FAISS index: transforms and refinements wrap the one with cells or links.

Inner products as distances, for cells, graphs and signs.

They rank badly by raw inner product, since a vector of large norm is near to
everything. One more component gives all passages the same norm, and then the nearest passage is the
one of the highest inner product (Bachrach et al. 2014, "Speeding Up the Xbox Recommender System
Using a Euclidean Transformation for Inner-Product Spaces"). With M the maximum norm:

    p' = (p, sqrt(M^2 - |p|^2))    q' = (q, 0)    |q' - p'|^2 = |q|^2 + M^2 - 2 q.p
"""

from typing import NamedTuple

import faiss
import numpy as np


def inner(index: faiss.Index) -> faiss.Index:
    """The index inside all wrappers."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return inner(index.index)
    if isinstance(index, faiss.IndexRefine):
        return inner(index.base_index)
    return index


def can_be_merged(index: faiss.Index) -> bool:
    """Whether parts that were filled apart can be put together: cells can, refinements cannot."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return can_be_merged(index.index)
    return isinstance(index, faiss.IndexIVF)


def wrapped(index: faiss.Index, parameters: faiss.SearchParameters) -> faiss.SearchParameters:
    """Search parameters of the inner index, in the form that the outer one passes on."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inside = wrapped(index.index, parameters)
        return faiss.SearchParametersPreTransform(index_params=inside)
    if isinstance(index, faiss.IndexRefine):
        inside = wrapped(index.base_index, parameters)
        return faiss.IndexRefineSearchParameters(k_factor=index.k_factor, base_index_params=inside)
    return parameters


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
