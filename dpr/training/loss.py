"""The loss of a batch: in-batch negatives (Karpukhin et al. 2020), and a teacher.

https://arxiv.org/abs/2004.04906


Losses that learn from a teacher's scores of (query, passage) pairs.

Both look at the passages of a batch that the teacher scored for the query of a pair. A passage that
stands for many counts as many.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from dpr.base.errors import InputError
from dpr.settings import TrainSettings
from dpr.similarity import Similarity
from dpr.training.batch import Targets

MIN_TEMPERATURE = 0.01  # of a learned one (Radford et al. 2021, CLIP)


class Loss(nn.Module):
    """The loss that the settings ask for. Its own parameter is the temperature.

    `teacher_share` of it learns from a teacher, the rest from which passages are relevant. With
    `matryoshka` it is the mean over the whole vectors and the vectors truncated to each of these
    dimensions (Kusupati et al. 2022, https://arxiv.org/abs/2205.13147).
    """

    def __init__(self, similarity: Similarity, settings: TrainSettings):
        super().__init__()
        self.similarity = similarity
        self.settings = settings
        self.learned = settings.temperature_lr is not None
        self.log_temperature = nn.Parameter(
            torch.tensor(math.log(settings.temperature)), requires_grad=self.learned
        )

    @property
    def temperature(self) -> torch.Tensor | float:
        """A number, unless it is learned: not all GPUs have tensors of float64."""
        return self.log_temperature.exp() if self.learned else self.settings.temperature

    @torch.no_grad()
    def limit_temperature(self) -> None:
        """Call after each update. (A clamp in `temperature` would stop its gradient.)"""
        self.log_temperature.clamp_(min=math.log(MIN_TEMPERATURE))

    def forward(
        self, queries: torch.Tensor, passages: torch.Tensor, targets: Targets
    ) -> torch.Tensor:
        """(Q, D) and (P, D) vectors -> the mean loss over the pairs."""
        whole = queries.shape[1]
        targets = targets.to(queries.device)
        losses = []
        for dimension in dict.fromkeys((*self.settings.matryoshka, whole)):
            truncated = [
                # The encoder has already normalized the whole vectors.
                v if dimension == whole else self.similarity.vectors(v[:, :dimension])
                for v in (queries, passages)
            ]
            losses.append(self._of_scores(self.similarity.scores(*truncated), targets))
        return torch.stack(losses).mean()

    def _of_scores(self, scores: torch.Tensor, targets: Targets) -> torch.Tensor:
        share = self.settings.teacher_share
        loss = torch.zeros((), device=scores.device)
        if share < 1:
            loss = loss + (1 - share) * self._contrastive(scores, targets)
        if share > 0:
            loss = loss + share * self._taught(scores, targets)
        return loss

    def _contrastive(self, scores: torch.Tensor, targets: Targets) -> torch.Tensor:
        temperature, margin = self.temperature, self.settings.false_negative_margin
        own = None if self.settings.in_batch_negatives else targets.negatives
        loss = in_batch_loss(
            scores,
            targets.pairs,
            targets.relevant,
            temperature,
            margin,
            own,
            targets.log_weights,
        )
        if not self.settings.symmetric:
            return loss
        # Over the queries of the batch, which are no sample of more.
        pairs, relevant = targets.pairs.flip(1), targets.relevant.T
        return (loss + in_batch_loss(scores.T, pairs, relevant, temperature, margin)) / 2

    def _taught(self, scores: torch.Tensor, targets: Targets) -> torch.Tensor:
        assert targets.teacher is not None  # dpr/settings: a share needs a teacher
        pairs, teacher, log_weights = targets.pairs, targets.teacher, targets.log_weights
        if self.settings.teacher_loss == "margin_mse":
            return margin_mse_loss(scores, pairs, teacher, log_weights)
        at = self.settings.teacher_temperature
        return kl_loss(scores, pairs, teacher, self.temperature, at, log_weights)


def in_batch_loss(
    scores: torch.Tensor,
    pairs: torch.Tensor,
    relevant: torch.Tensor,
    temperature: torch.Tensor | float,
    false_negative_margin: float | None = None,
    negatives: torch.Tensor | None = None,
    log_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy of each pair's own passage against the passages of the batch.

    Args:
        scores: (Q, P), each query with each passage of the batch.
        pairs: (B, 2) int64, row and column of each training pair. A column in no pair is a hard
            negative, for all queries.
        relevant: (Q, P) bool. A passage that is relevant to a query is no negative of it.
        temperature: scores are divided by it.
        false_negative_margin: a passage that scores higher than the pair's own minus this margin
            is taken for relevant too (Solatorio 2024, https://arxiv.org/abs/2402.16829; the
            encoder is its own guide). None: no passage is.
        negatives: (B, P) bool, the only negatives of each pair; None: all passages of the batch.
        log_weights: (P,), see `Targets`; 0 for the passages of pairs. None: 0 for all.
    Returns: the mean loss over the pairs, a scalar.
    Raises:
        InputError: if the margin leaves no query a negative, so that nothing would be learned.
    """
    query, own = pairs.T
    rows = scores[query]  # (B, P)
    positive = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, own[:, None], True)
    excluded = relevant[query] if negatives is None else relevant[query] | ~negatives
    if false_negative_margin is not None:
        own_score = rows.detach().gather(1, own[:, None])
        close = rows.detach() > own_score - false_negative_margin
        if (excluded | close | positive).all() and not (excluded | positive).all():
            raise InputError(
                f"params.yaml: train.false_negative_margin: {false_negative_margin} takes every "
                "negative of a batch for relevant, so nothing is learned; lower it, or set null"
            )
        excluded = excluded | close
    # Divided first: a score of -infinity has no gradient for the temperature.
    rows = rows / temperature
    if log_weights is not None:
        rows = rows + log_weights
    rows = rows.masked_fill(excluded & ~positive, -torch.inf)
    return functional.cross_entropy(rows, own)


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
