"""The one decision about similarity: training loss, index and run scores all ask here.

An encoder scored by another similarity than the one it was trained for silently loses much of
its quality, so every artifact (encoder, embeddings, index) records its similarity, and `require`
refuses one that was made with another.
"""

from dataclasses import dataclass

import faiss
import numpy as np
import torch
from torch.nn import functional

from dpr.errors import InputError


@dataclass(frozen=True)
class Similarity:
    """How a query vector and a passage vector become a score; higher is better."""

    name: str
    normalize: bool  # the encoder gives vectors of length one
    metric: int  # of FAISS

    def vectors(self, pooled: torch.Tensor) -> torch.Tensor:
        """(B, D) pooled token states -> (B, D) vectors that this similarity compares."""
        return functional.normalize(pooled, dim=-1) if self.normalize else pooled

    def cut(self, vectors: np.ndarray, dimension: int | None) -> np.ndarray:
        """The first `dimension` components of (N, D) vectors, as float32 that this compares.

        Of an encoder trained with `train.matryoshka` they stand for the whole. None: all of them.
        """
        vectors = np.ascontiguousarray(vectors[:, :dimension], dtype=np.float32)
        if dimension is None:
            return vectors
        return self.vectors(torch.from_numpy(vectors)).numpy()

    def scores(self, queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        """(Q, D) and (P, D) vectors -> (Q, P) scores."""
        if self.metric == faiss.METRIC_L1:
            return -torch.cdist(queries, passages, p=1)
        products = queries @ passages.T
        if self.metric == faiss.METRIC_INNER_PRODUCT:
            return products
        squares = (queries**2).sum(-1, keepdim=True) + (passages**2).sum(-1)
        return 2 * products - squares  # -|q - p|^2

    def scores_of_faiss(self, distances: np.ndarray) -> np.ndarray:
        """What a FAISS index returns -> scores; it returns *squared* distances for l2."""
        return distances if self.metric == faiss.METRIC_INNER_PRODUCT else -distances


SIMILARITIES = {
    similarity.name: similarity
    for similarity in (
        Similarity("cosine", normalize=True, metric=faiss.METRIC_INNER_PRODUCT),
        Similarity("dot", normalize=False, metric=faiss.METRIC_INNER_PRODUCT),
        Similarity("l2", normalize=False, metric=faiss.METRIC_L2),
        Similarity("l1", normalize=False, metric=faiss.METRIC_L1),
    )
}


def require(recorded: str, wanted: str, artifact: object) -> None:
    """Refuse an artifact made for another similarity.

    Raises:
        InputError: naming the artifact and both similarities.
    """
    if recorded != wanted:
        raise InputError(
            f"{artifact}: made with similarity {recorded!r}, but params.yaml says {wanted!r}; "
            "make it again (dvc repro) or set `similarity` back"
        )
