"""Losses that learn from a teacher's scores of (query, passage) pairs.

Both look at the passages of a batch that the teacher scored for the query of a pair. A passage that
stands for many counts as many.
"""

import torch


def kl_loss(
    scores: torch.Tensor,
    pairs: torch.Tensor,
    teacher: torch.Tensor,
    temperature: torch.Tensor | float,
    teacher_temperature: float,
    log_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """KL divergence of the encoder's distribution over the passages from the teacher's.

    As sentence-transformers' DistillKLDivLoss, but for its factor `temperature`^2, which would make
    the loss vanish at temperatures far below 1 (Lin et al. 2020, https://arxiv.org/abs/2010.11386).

    Args:
        scores: (Q, P), each query with each passage of the batch.
        pairs: (B, 2) int64, row and column of each training pair.
        teacher: (Q, P); NaN: not scored. At least the pair's own passage is.
        temperature: scores are divided by it.
        teacher_temperature: the teacher's scores are divided by it.
        log_weights: (P,), see `Targets`; None: 0 for all.
    Returns: the mean over the pairs, a scalar.
    """
    query = pairs[:, 0]
    given = teacher[query]
    outside = given.isnan()
    given, found = given / teacher_temperature, scores[query] / temperature
    if log_weights is not None:
        given, found = given + log_weights, found + log_weights
    target = given.masked_fill(outside, -torch.inf).log_softmax(1)
    found = found.masked_fill(outside, -torch.inf).log_softmax(1)
    terms = target.exp() * (target - found)  # outside, -infinity less itself: NaN
    return terms.masked_fill(outside, 0.0).sum(1).mean()


def margin_mse_loss(
    scores: torch.Tensor,
    pairs: torch.Tensor,
    teacher: torch.Tensor,
    log_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean squared difference between the encoder's margins and the teacher's.

    A margin is the score of the pair's own passage less that of another (Hofstätter et al. 2020,
    https://arxiv.org/abs/2010.02666; sentence-transformers' MarginMSELoss). Arguments as `kl_loss`.

    Returns: the mean over all margins, a scalar; 0 if there is none.
    """
    query, own = pairs.T
    found, given = (all_of[query] for all_of in (scores, teacher))
    errors = (found.gather(1, own[:, None]) - found) - (given.gather(1, own[:, None]) - given)
    outside = given.isnan()
    outside[torch.arange(len(own)), own] = True  # no margin to itself
    squares, counts = errors.masked_fill(outside, 0.0).square(), ~outside
    if log_weights is not None:
        squares, counts = squares * log_weights.exp(), counts * log_weights.exp()
    return squares.sum() / counts.sum().clamp(min=1)
