"""The loss of a batch: in-batch negatives (Karpukhin et al. 2020), and learning from a teacher.

https://arxiv.org/abs/2004.04906. Each loss is a function of a batch's (Q, P) scores and `Targets`.
To add one, write such a function and call it in `Loss._contrastive`, or in `Loss.from_scores` if it
learns from a teacher.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from dpr.base.errors import InputError
from dpr.settings import MIN_TEMPERATURE, TrainSettings
from dpr.similarity import Similarity

Id = Any  # of a query or passage: text, or a row number


class Targets(NamedTuple):
    """B pairs of Q distinct queries and P distinct passages, and what the loss should learn.

    Columns outside all pairs are negatives, shared by all queries.
    """

    query_ids: list[Id]  # Q
    passage_ids: list[Id]  # P
    pairs: torch.Tensor  # (B, 2) int64: each pair's row and column
    relevant: torch.Tensor  # (Q, P) bool: a relevant passage is no negative of the query
    negatives: torch.Tensor | None = None  # (B, P) bool: the hard negatives drawn for each pair
    teacher: torch.Tensor | None = None  # (Q, P) float32: the teacher's scores; NaN: none
    # (P,) float32: log of how many passages each one stands for, in a sample; None: 1 each
    log_weights: torch.Tensor | None = None

    def to(self, device: torch.device) -> "Targets":
        tensors = {k: v for k, v in self._asdict().items() if isinstance(v, torch.Tensor)}
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in tensors.items()}
        return self._replace(**moved)

    def transposed(self) -> "Targets":
        """The same pairs, from passage to query. No weights: the queries are not a sample."""
        pairs, relevant = self.pairs.flip(1), self.relevant.T
        return Targets(self.passage_ids, self.query_ids, pairs, relevant)


class Loss(nn.Module):
    """The loss of the settings. Its only parameter is the temperature.

    With `matryoshka`, the mean over the whole vectors and their truncations to these dimensions
    (Kusupati et al. 2022, https://arxiv.org/abs/2205.13147).
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
        """A tensor if learned, else a float: some GPUs have no float64 tensors."""
        return self.log_temperature.exp() if self.learned else self.settings.temperature

    @torch.no_grad()
    def limit_temperature(self) -> None:
        """Call after each update. (A clamp in `temperature` would stop its gradient.)"""
        self.log_temperature.clamp_(min=math.log(MIN_TEMPERATURE))

    def forward(
        self, queries: torch.Tensor, passages: torch.Tensor, targets: Targets
    ) -> torch.Tensor:
        """(Q, D) and (P, D) vectors -> the mean loss over the pairs, a scalar."""
        whole = queries.shape[1]
        targets = targets.to(queries.device)
        losses = []
        for dimension in dict.fromkeys((*self.settings.matryoshka, whole)):
            truncated = [
                # The encoder has already normalized the whole vectors.
                v if dimension == whole else self.similarity.vectors(v[:, :dimension])
                for v in (queries, passages)
            ]
            losses.append(self.from_scores(self.similarity.scores(*truncated), targets))
        return torch.stack(losses).mean()

    def from_scores(self, scores: torch.Tensor, targets: Targets) -> torch.Tensor:
        """(Q, P) scores -> a scalar: `teacher_share` of a teacher's loss, the rest contrastive."""
        share = self.settings.teacher_share
        loss = torch.zeros((), device=scores.device)
        if share < 1:
            loss = loss + (1 - share) * self._contrastive(scores, targets)
        if share > 0 and self.settings.teacher_loss == "margin_mse":
            loss = loss + share * margin_mse_loss(scores, targets)
        elif share > 0:
            teacher_temperature = self.settings.teacher_temperature
            loss = loss + share * kl_loss(scores, targets, self.temperature, teacher_temperature)
        return loss

    def _contrastive(self, scores: torch.Tensor, targets: Targets) -> torch.Tensor:
        settings, temperature = self.settings, self.temperature
        threshold = settings.false_negative_margin
        loss = in_batch_loss(scores, targets, temperature, threshold, settings.in_batch_negatives)
        if not settings.symmetric:
            return loss
        back = in_batch_loss(scores.T, targets.transposed(), temperature, threshold)
        return (loss + back) / 2


def in_batch_loss(
    scores: torch.Tensor,
    targets: Targets,
    temperature: torch.Tensor | float,
    false_negative_margin: float | None = None,
    in_batch_negatives: bool = True,
) -> torch.Tensor:
    """Cross-entropy of each pair's passage against the batch's other passages.

    Args:
        scores: (Q, P).
        temperature: divides the scores.
        false_negative_margin: also exclude each passage whose score exceeds the positive's minus
            this number (Solatorio 2024, https://arxiv.org/abs/2402.16829, with the encoder as its
            own guide). None: do not.
        in_batch_negatives: False: a pair's only negatives are those drawn for it.
    Returns: the mean over the pairs, a scalar.
    Raises:
        InputError: if `false_negative_margin` excludes every negative of the batch.
    """
    query, positive = targets.pairs.T
    rows = scores[query]  # (B, P)
    is_positive = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, positive[:, None], True)
    excluded = targets.relevant[query]
    if not in_batch_negatives:
        assert targets.negatives is not None
        excluded = excluded | ~targets.negatives
    if false_negative_margin is not None:
        positive_score = rows.detach().gather(1, positive[:, None])
        close = rows.detach() > positive_score - false_negative_margin
        if (excluded | close | is_positive).all() and not (excluded | is_positive).all():
            raise InputError(
                f"params.yaml: train.false_negative_margin: {false_negative_margin} takes every "
                "negative of a batch as relevant, so nothing is learned; lower it, or set null"
            )
        excluded = excluded | close
    # Divided first: a score of -infinity has no gradient for the temperature.
    rows = rows / temperature
    if targets.log_weights is not None:
        rows = rows + targets.log_weights
    rows = rows.masked_fill(excluded & ~is_positive, -torch.inf)
    return functional.cross_entropy(rows, positive)


def kl_loss(
    scores: torch.Tensor,
    targets: Targets,
    temperature: torch.Tensor | float,
    teacher_temperature: float,
) -> torch.Tensor:
    """KL divergence of the encoder's distribution from the teacher's, over the scored passages.

    As in Lin et al. 2020, https://arxiv.org/abs/2010.11386; and as sentence-transformers'
    DistillKLDivLoss without its factor `temperature`^2, by which small temperatures hide the loss.

    Args:
        scores: (Q, P).
        targets: the teacher has scored at least each pair's passage.
    Returns: the mean over the pairs, a scalar.
    """
    assert targets.teacher is not None  # the settings require a teacher
    query = targets.pairs[:, 0]
    teacher = targets.teacher[query]
    unscored = teacher.isnan()
    teacher, student = teacher / teacher_temperature, scores[query] / temperature
    if targets.log_weights is not None:
        teacher, student = teacher + targets.log_weights, student + targets.log_weights
    teacher = teacher.masked_fill(unscored, -torch.inf).log_softmax(1)
    student = student.masked_fill(unscored, -torch.inf).log_softmax(1)
    terms = teacher.exp() * (teacher - student)  # NaN where unscored
    return terms.masked_fill(unscored, 0.0).sum(1).mean()


def margin_mse_loss(scores: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Mean squared difference between the encoder's margins and the teacher's.

    A margin is the positive's score minus a different passage's (Hofstätter et al. 2020,
    https://arxiv.org/abs/2010.02666; sentence-transformers' MarginMSELoss).

    Args: as `kl_loss`.
    Returns: the mean over all margins, a scalar; 0 without a margin.
    """
    assert targets.teacher is not None
    query, positive = targets.pairs.T
    student, teacher = scores[query], targets.teacher[query]
    column = positive[:, None]
    errors = (student.gather(1, column) - student) - (teacher.gather(1, column) - teacher)
    unscored = teacher.isnan().scatter(1, column, True)  # a passage has no margin to itself
    squares, counts = errors.masked_fill(unscored, 0.0).square(), ~unscored
    if targets.log_weights is not None:
        weights = targets.log_weights.exp()
        squares, counts = squares * weights, counts * weights
    return squares.sum() / counts.sum().clamp(min=1)
