"""The loss of a batch: in-batch negatives (Karpukhin et al. 2020), and learning from a teacher.

https://arxiv.org/abs/2004.04906. Each loss is a function of the (Q, P) scores of a batch and its
`Targets`. `Loss.from_scores` chooses among them by the settings: a new loss is added there.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from dpr.base.errors import InputError
from dpr.settings import TrainSettings
from dpr.similarity import Similarity

MIN_TEMPERATURE = 0.01  # of a learned one (Radford et al. 2021, CLIP)
Id = Any  # of a query or passage: text, or a row number


class Targets(NamedTuple):
    """What the loss should learn from B pairs of Q distinct queries and P distinct passages.

    A column in no pair is a hard negative. All queries share it, as they share all passages.
    """

    query_ids: list[Id]  # Q
    passage_ids: list[Id]  # P
    pairs: torch.Tensor  # (B, 2) int64: row and column of each pair's query and passage
    relevant: torch.Tensor  # (Q, P) bool: a relevant passage is no negative of the query
    negatives: torch.Tensor | None = None  # (B, P) bool: the hard negatives drawn for each pair
    teacher: torch.Tensor | None = None  # (Q, P) float32: the teacher's scores; NaN: none
    # (P,) float32: if the passages are a sample, the log of how many each stands for; None: 1 each
    log_weights: torch.Tensor | None = None

    def to(self, device: torch.device) -> "Targets":
        tensors = {k: v for k, v in self._asdict().items() if isinstance(v, torch.Tensor)}
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in tensors.items()}
        return self._replace(**moved)

    def transposed(self) -> "Targets":
        """The same pairs, with passages that look for queries. The queries are no sample."""
        pairs, relevant = self.pairs.flip(1), self.relevant.T
        return Targets(self.passage_ids, self.query_ids, pairs, relevant)


class Loss(nn.Module):
    """The loss that the settings ask for. Its only parameter is the temperature.

    With `matryoshka` it is the mean over the whole vectors and their truncations to each of these
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
        """A tensor if it is learned, else a float: some GPUs have no float64 tensors."""
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
        margin = settings.false_negative_margin
        loss = in_batch_loss(scores, targets, temperature, margin, not settings.in_batch_negatives)
        if not settings.symmetric:
            return loss
        return (loss + in_batch_loss(scores.T, targets.transposed(), temperature, margin)) / 2


def in_batch_loss(
    scores: torch.Tensor,
    targets: Targets,
    temperature: torch.Tensor | float,
    false_negative_margin: float | None = None,
    own_negatives_only: bool = False,
) -> torch.Tensor:
    """Cross-entropy of each pair's passage against the other passages of the batch.

    Args:
        scores: (Q, P), each query with each passage of the batch.
        temperature: divides the scores.
        false_negative_margin: also takes as relevant any passage whose score exceeds the pair's
            minus this margin (Solatorio 2024, https://arxiv.org/abs/2402.16829, with the encoder
            as its own guide). None: does not.
        own_negatives_only: a pair's only negatives are those drawn for it.
    Returns: the mean over the pairs, a scalar.
    Raises:
        InputError: if the margin leaves no query a negative, so that nothing would be learned.
    """
    query, own = targets.pairs.T
    rows = scores[query]  # (B, P)
    positive = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, own[:, None], True)
    excluded = targets.relevant[query]
    if own_negatives_only:
        assert targets.negatives is not None
        excluded = excluded | ~targets.negatives
    if false_negative_margin is not None:
        own_score = rows.detach().gather(1, own[:, None])
        close = rows.detach() > own_score - false_negative_margin
        if (excluded | close | positive).all() and not (excluded | positive).all():
            raise InputError(
                f"params.yaml: train.false_negative_margin: {false_negative_margin} takes every "
                "negative of a batch as relevant, so nothing is learned; lower it, or set null"
            )
        excluded = excluded | close
    # Divided first: a score of -infinity has no gradient for the temperature.
    rows = rows / temperature
    if targets.log_weights is not None:
        rows = rows + targets.log_weights
    rows = rows.masked_fill(excluded & ~positive, -torch.inf)
    return functional.cross_entropy(rows, own)


def kl_loss(
    scores: torch.Tensor,
    targets: Targets,
    temperature: torch.Tensor | float,
    teacher_temperature: float,
) -> torch.Tensor:
    """KL divergence of the encoder's distribution from the teacher's, over the passages it scored.

    As sentence-transformers' DistillKLDivLoss, but without its factor `temperature`^2. That would
    make the loss vanish at temperatures far below 1 (Lin et al. 2020,
    https://arxiv.org/abs/2010.11386).

    Args:
        scores: (Q, P), each query with each passage of the batch.
        targets: the teacher has scored at least each pair's passage.
        temperature: divides the encoder's scores; `teacher_temperature` the teacher's.
    Returns: the mean over the pairs, a scalar.
    """
    assert targets.teacher is not None  # the settings: a share needs a teacher
    query = targets.pairs[:, 0]
    teacher = targets.teacher[query]
    unscored = teacher.isnan()
    teacher, student = teacher / teacher_temperature, scores[query] / temperature
    if targets.log_weights is not None:
        teacher, student = teacher + targets.log_weights, student + targets.log_weights
    teacher = teacher.masked_fill(unscored, -torch.inf).log_softmax(1)
    student = student.masked_fill(unscored, -torch.inf).log_softmax(1)
    terms = teacher.exp() * (teacher - student)  # unscored: -infinity minus itself, NaN
    return terms.masked_fill(unscored, 0.0).sum(1).mean()


def margin_mse_loss(scores: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Mean squared difference between the encoder's margins and the teacher's.

    A margin is the score of the pair's passage minus that of a different one (Hofstätter et al.
    2020, https://arxiv.org/abs/2010.02666; sentence-transformers' MarginMSELoss).

    Args: as `kl_loss`.
    Returns: the mean over all margins, a scalar; 0 if there is none.
    """
    assert targets.teacher is not None
    query, own = targets.pairs.T
    student, teacher = scores[query], targets.teacher[query]
    errors = (student.gather(1, own[:, None]) - student) - (
        teacher.gather(1, own[:, None]) - teacher
    )
    unscored = teacher.isnan()
    unscored[torch.arange(len(own)), own] = True  # a passage has no margin to itself
    squares, counts = errors.masked_fill(unscored, 0.0).square(), ~unscored
    if targets.log_weights is not None:
        weights = targets.log_weights.exp()
        squares, counts = squares * weights, counts * weights
    return squares.sum() / counts.sum().clamp(min=1)
