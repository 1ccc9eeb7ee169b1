"""The passages of a batch: texts that the step encodes, or vectors that stay as they are."""

from typing import Protocol

import numpy as np
import torch

from dpr.embeddings.artifact import Embeddings
from dpr.encoders.tokens import Tokens
from dpr.training.ragged import Ragged


class Passages(Protocol):
    def columns(self, own: list[int], step: int) -> list[int]:
        """The passages that the queries of a batch are compared with; `own` are its pairs'."""

    def take(self, rows: list[int]) -> list[Tokens] | torch.Tensor: ...


class EncodedPassages:
    """Passages as tokens, for a step that trains their encoder: only those of the pairs."""

    def __init__(self, tokens: Ragged):
        self.tokens = tokens

    def columns(self, own: list[int], step: int) -> list[int]:
        return own

    def take(self, rows: list[int]) -> list[Tokens]:
        return [self.tokens[row] for row in rows]


class FixedPassages:
    """The vectors of all passages, for a step that trains the query encoder alone.

    The loss is then a softmax over the whole collection or, if it has more than `at_most` passages,
    over the pairs' own and as many that are drawn for each step.

    Args:
        vectors: a memory map; up to `at_most` of its rows are in memory at a time.
        seed: of what is drawn.
        device: that has the vectors, if all are in memory.
    """

    def __init__(
        self,
        vectors: Embeddings,
        at_most: int | None,
        seed: int,
        device: torch.device | None = None,
    ):
        self.vectors, self.at_most, self.seed = vectors, at_most, seed
        self.count = len(vectors.vectors)
        self.all: torch.Tensor | None = None
        if at_most is None or self.count <= at_most:
            self.all = torch.from_numpy(vectors.read(0, self.count)).to(device)

    def columns(self, own: list[int], step: int) -> list[int]:
        if self.all is not None:
            return list(range(self.count))
        rng = np.random.default_rng([self.seed, step])
        drawn = rng.integers(self.count, size=self.at_most)  # twice the same: once
        return np.union1d(own, drawn).tolist()

    def take(self, rows: list[int]) -> torch.Tensor:
        if self.all is not None:
            return self.all
        return torch.from_numpy(self.vectors.take(rows))
