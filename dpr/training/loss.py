"""The in-batch negatives loss (Karpukhin et al. 2020, https://arxiv.org/abs/2004.04906)."""

import math

import torch
from torch import nn
from torch.nn import functional

from dpr.errors import InputError
from dpr.settings import TrainSettings
from dpr.similarity import Similarity

LOWEST_TEMPERATURE = 0.01  # a learned one goes no lower (Radford et al. 2021, CLIP)


class InBatchLoss(nn.Module):
    """The loss as the parameters of a training say; its own parameter is the temperature.

    With `matryoshka` dimensions it is the mean of the losses of the vectors cut to each of them
    (Kusupati et al. 2022, https://arxiv.org/abs/2205.13147) and of the whole vectors.
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
    def temperature(self) -> torch.Tensor:
        if not self.learned:
            return torch.tensor(self.settings.temperature, dtype=torch.float64)
        return self.log_temperature.exp()

    @torch.no_grad()
    def limit_temperature(self) -> None:
        """After each update: the parameter itself is held, so that it can come back."""
        self.log_temperature.clamp_(min=math.log(LOWEST_TEMPERATURE))

    def forward(
        self,
        queries: torch.Tensor,
        passages: torch.Tensor,
        pairs: torch.Tensor,
        relevant: torch.Tensor,
    ) -> torch.Tensor:
        """See `in_batch_loss`."""
        whole = queries.shape[1]
        losses = []
        for dimension in dict.fromkeys((*self.settings.matryoshka, whole)):
            # The whole vectors are as the encoder gave them: normalised already where they should.
            cut = [
                v if dimension == whole else self.similarity.vectors(v[:, :dimension])
                for v in (queries, passages)
            ]
            scores = self.similarity.scores(*cut)
            temperature = self.temperature.to(scores.device)
            margin = self.settings.false_negative_margin
            losses.append(in_batch_loss(scores, pairs, relevant, temperature, margin))
            if self.settings.symmetric:
                back = in_batch_loss(scores.T, pairs.flip(1), relevant.T, temperature, margin)
                losses[-1] = (losses[-1] + back) / 2
        return torch.stack(losses).mean()


def in_batch_loss(
    scores: torch.Tensor,
    pairs: torch.Tensor,
    relevant: torch.Tensor,
    temperature: torch.Tensor | float,
    false_negative_margin: float | None = None,
) -> torch.Tensor:
    """Cross-entropy of each pair's own passage against the passages of the batch.

    Args:
        scores: (Q, P), of each query with each passage of the batch.
        pairs: (B, 2) int64, the row and the column of each training pair. A column that no pair
            names is a hard negative, which every query has as a negative.
        relevant: (Q, P) bool, True where passage j is relevant to query i: no negative of it.
        temperature: scores are divided by it.
        false_negative_margin: a passage that scores above the pair's own less this margin is
            taken for relevant too (Solatorio 2024, https://arxiv.org/abs/2402.16829, with the
            encoder for its own guide); None takes none so.
    Returns: the mean loss over the pairs, a scalar.
    Raises:
        InputError: where the margin leaves no query a negative, so that nothing would be learned.
    """
    query, own = pairs.T
    rows = scores[query]  # (B, P)
    positive = functional.one_hot(own, rows.shape[1]).bool()
    left_out = relevant[query]
    if false_negative_margin is not None:
        own_score = rows.detach().gather(1, own[:, None])
        close = rows.detach() > own_score - false_negative_margin
        if (left_out | close | positive).all() and not (left_out | positive).all():
            raise InputError(
                f"params.yaml: train.false_negative_margin: {false_negative_margin} takes every "
                "negative of a batch for relevant, so nothing is learned; lower it, or set null"
            )
        left_out = left_out | close
    # Scaled first: the temperature of a score of -infinity has no gradient.
    rows = (rows / temperature).masked_fill(left_out & ~positive, -torch.inf)
    return functional.cross_entropy(rows, own)
