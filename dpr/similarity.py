"""How vectors are compared, in the loss, the index, mining and runs.

An encoder that is scored by a different similarity than in training loses much of its quality. So
an encoder records its similarity, and all that is made with it uses the same.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

# FAISS's constants METRIC_INNER_PRODUCT, METRIC_L2 and METRIC_L1, without loading FAISS for them.
INNER_PRODUCT, L2, L1 = 0, 1, 2


@dataclass(frozen=True)
class Similarity:
    """How a query vector and a passage vector become a score; higher is always better.

    Scores lie in -1..1 for cosine, anywhere for dot, and at 0 or below for l2 and l1.
    """

    name: str
    normalize: bool  # the encoder gives vectors of norm 1
    metric: int  # of FAISS

    def vectors(self, pooled: torch.Tensor) -> torch.Tensor:
        """(B, D) pooled token states -> (B, D) vectors, of norm 1 for cosine."""
        return functional.normalize(pooled, dim=-1) if self.normalize else pooled

    def truncate(self, vectors: np.ndarray, dimension: int | None) -> np.ndarray:
        """(N, D) vectors -> (N, dimension) float32: the first components; None keeps all.

        They are normalized again for cosine. See `train.matryoshka`.
        """
        vectors = np.ascontiguousarray(vectors[:, :dimension], dtype=np.float32)
        if dimension is None:
            return vectors
        return self.vectors(torch.from_numpy(vectors)).numpy()

    def scores(self, queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        """(Q, D) and (P, D) vectors -> (Q, P) scores."""
        if self.metric == L1:
            return -torch.cdist(queries, passages, p=1)
        products = queries @ passages.T
        if self.metric == INNER_PRODUCT:
            return products
        squares = (queries**2).sum(-1, keepdim=True) + (passages**2).sum(-1)
        return 2 * products - squares  # -|q - p|^2


SIMILARITIES = {
    similarity.name: similarity
    for similarity in (
        Similarity("cosine", normalize=True, metric=INNER_PRODUCT),
        Similarity("dot", normalize=False, metric=INNER_PRODUCT),
        Similarity("l2", normalize=False, metric=L2),
        Similarity("l1", normalize=False, metric=L1),
    )
}
