"""Passages of a batch that are not encoded, but fixed vectors; and a teacher's scores.

Both by row number.
"""

import math
from array import array
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from dpr.base.errors import InputError
from dpr.embeddings.artifact import Embeddings
from dpr.records.ids import IdRows, hash64
from dpr.records.scores import read_scores
from dpr.training.texts import Ragged


class FixedPassages:
    """The vectors of all passages, for a step that trains the query encoder alone.

    The loss is then a softmax over the whole collection. If that has more than `at_most` passages,
    each step estimates the softmax: it takes the pairs' own passages, and draws `at_most` of the M
    that are left, without replacement. Each of these stands for M / `at_most` passages, its weight
    in the softmax's sum (Bengio and Senécal 2008, https://doi.org/10.1109/TNN.2007.912312; Jean et
    al. 2015, https://arxiv.org/abs/1412.2007). So the sum and its gradient are unbiased. The loss
    takes the logarithm of the sum: its gradient has a bias, which falls as 1 / `at_most`.

    Args:
        vectors: a memory map; up to `at_most` of its rows are in memory at a time.
        seed: for the draws.
        device: holds the vectors, if all are in memory.
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

    def columns(self, own: list[int], step: int) -> tuple[list[int], torch.Tensor | None]:
        """The rows of a batch's P passages, which include `own`, those of its pairs.

        Returns: them, and their (P,) log weights, see `Targets`.
        """
        if self.at_most is None or self.all is not None:
            return list(range(self.count)), None
        certain = np.unique(own)
        left = self.count - len(certain)
        size = min(self.at_most, left)
        rng = np.random.default_rng([self.seed, step])
        drawn = rng.choice(left, size, replace=False, shuffle=False)
        # From a number among those left to a row: add the number of certain rows before it.
        drawn += np.searchsorted(certain - np.arange(len(certain)), drawn, side="right")
        rows = np.union1d(certain, drawn)
        log_weights = torch.zeros(len(rows))
        log_weights[np.isin(rows, drawn)] = math.log(left / size) if size else 0.0
        return rows.tolist(), log_weights

    def take(self, rows: list[int]) -> torch.Tensor:
        """(P, D) float32 vectors."""
        if self.all is not None:
            return self.all
        return torch.from_numpy(self.vectors.take(rows))


class TeacherFile(NamedTuple):
    """N scores of a teacher: digests of the query's and the passage's id, and the score."""

    queries: np.ndarray  # (N,) uint64
    passages: np.ndarray  # (N,) uint64
    scores: np.ndarray  # (N,) float32

    @classmethod
    def read(cls, path: Path) -> "TeacherFile":
        """Errors as `read_scores`; the stage that writes the file has checked its ids."""
        queries, passages, scores = array("Q"), array("Q"), array("f")
        for _, query_id, passage_ids, given in read_scores(path):
            queries.extend([hash64(query_id)] * len(passage_ids))
            passages.extend(map(hash64, passage_ids))
            scores.extend(given)
        return cls(*map(np.asarray, (queries, passages, scores)))


class Teacher:
    """The scored passages of each query.

    Args:
        pairs: (N, 2) rows, see `PairSet`.
    Raises:
        InputError: for a pair whose passage has no score.
    """

    def __init__(
        self, work: Path, file: TeacherFile, queries: IdRows, passages: IdRows, pairs: np.ndarray
    ):
        rows, columns = queries.of(file.queries), passages.of(file.passages)
        inside = (rows >= 0) & (columns >= 0)
        rows, columns, scores = rows[inside], columns[inside], file.scores[inside]
        wide, own = np.int64(len(passages)), pairs.astype(np.int64)
        taught = np.isin(own[:, 0] * wide + own[:, 1], rows * wide + columns)
        if not taught.all():
            raise InputError(
                f"training pair {taught.argmin() + 1}: the teacher has no score for its passage; "
                "mine again"
            )
        self.passages = Ragged.group(work / "taught", np.int32, len(queries), rows, columns)
        self.values = Ragged.group(work / "scores", np.float32, len(queries), rows, scores)

    def scores(self, query: int) -> dict[int, float]:
        """{passage: score} of a query."""
        return dict(zip(self.passages[query].tolist(), self.values[query].tolist(), strict=True))

    def negatives(self, query: int, passage: int) -> list[int]:
        """The scored passages of a query, without the pair's own."""
        return [row for row in self.passages[query].tolist() if row != passage]
