"""The in-batch negatives loss (Karpukhin et al. 2020, https://arxiv.org/abs/2004.04906)."""

import torch
from torch.nn import functional

from dpr.similarity import Similarity


def in_batch_loss(
    queries: torch.Tensor,
    passages: torch.Tensor,
    not_negative: torch.Tensor,
    similarity: Similarity,
    temperature: float,
) -> torch.Tensor:
    """Cross-entropy of each query's own passage against the other passages of the batch.

    Args:
        queries: (B, D) vectors.
        passages: (P, D) vectors, P >= B; passage i is the positive of query i, and those from B on
            are hard negatives, which every query of the batch has as negatives.
        not_negative: (B, P) bool, True where passage j is relevant to query i and so no negative
            of it. The diagonal, the positives, is not looked at.
        temperature: scores are divided by it.
    Returns: the mean loss over the queries, a scalar.
    """
    scores = similarity.scores(queries, passages) / temperature
    own = torch.eye(*scores.shape, dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill(not_negative & ~own, -torch.inf)
    return functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device))
