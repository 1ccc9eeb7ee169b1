"""A batch's passages as fixed vectors, which are not trained; and a teacher's scores.

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
    """The vectors of all passages, for training the query encoder alone.

    The loss is then a softmax over the whole collection. Beyond `at_most` passages, each step
    estimates it: to the passages of the pairs, it adds `at_most` of the remaining M, drawn without
    replacement. Each of them weighs M / `at_most` in the sum of the softmax (Bengio and Senécal
    2008, https://doi.org/10.1109/TNN.2007.912312; Jean et al. 2015,
    https://arxiv.org/abs/1412.2007). The sum and its gradient are unbiased. The loss is the sum's
    logarithm: the bias of its gradient falls as 1 / `at_most`.

    Args:
        embeddings: a memory map; up to `at_most` rows are in memory at a time.
        device: holds the vectors, if all are in memory.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        at_most: int | None,
        seed: int,
        device: torch.device | None = None,
    ):
        self.embeddings, self.at_most, self.seed = embeddings, at_most, seed
        self.count = len(embeddings.vectors)
        self.all: torch.Tensor | None = None
        if at_most is None or self.count <= at_most:
            self.all = torch.from_numpy(embeddings.read(0, self.count)).to(device)

    def sample_rows(self, of_pairs: list[int], step: int) -> tuple[list[int], torch.Tensor | None]:
        """The P rows of a batch, with those of its pairs, and their log weights, see `Targets`."""
        if self.at_most is None or self.all is not None:
            return list(range(self.count)), None
        certain = np.unique(of_pairs)
        left = self.count - len(certain)
        size = min(self.at_most, left)
        rng = np.random.default_rng([self.seed, step])
        drawn = rng.choice(left, size, replace=False, shuffle=False)
        # From the n-th row left to its number: add how many certain rows precede it.
        drawn += np.searchsorted(certain - np.arange(len(certain)), drawn, side="right")
        rows = np.union1d(certain, drawn)
        log_weights = torch.zeros(len(rows))
        log_weights[np.isin(rows, drawn)] = math.log(left / size) if size else 0.0
        return rows.tolist(), log_weights

    def vectors(self, sampled_rows: list[int]) -> torch.Tensor:
        """(P, D) float32 vectors."""
        if self.all is not None:
            return self.all
        return torch.from_numpy(self.embeddings.take(sampled_rows))


class TeacherFile(NamedTuple):
    """N scores of a teacher, with digests of ids, see `dpr.records.ids`."""

    queries: np.ndarray  # (N,) uint64
    passages: np.ndarray  # (N,) uint64
    scores: np.ndarray  # (N,) float32

    @classmethod
    def read(cls, path: Path) -> "TeacherFile":
        """Errors as `read_scores`. `mine` has checked the ids."""
        queries, passages, scores = array("Q"), array("Q"), array("f")
        for _, query_id, passage_ids, given in read_scores(path):
            queries.extend([hash64(query_id)] * len(passage_ids))
            passages.extend(map(hash64, passage_ids))
            scores.extend(given)
        return cls(*map(np.asarray, (queries, passages, scores)))


SCORED = np.dtype([("passage", np.int32), ("score", np.float32)])


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
        rows, columns = rows[inside], columns[inside]
        width, wide = np.int64(len(passages)), pairs.astype(np.int64)
        has_score = np.isin(wide[:, 0] * width + wide[:, 1], rows * width + columns)
        if not has_score.all():
            raise InputError(
                f"training pair {has_score.argmin() + 1}: the teacher has no score for its "
                "passage; mine again"
            )
        scored = np.empty(len(rows), SCORED)
        scored["passage"], scored["score"] = columns, file.scores[inside]
        self.scored = Ragged.group(work / "scored", SCORED, len(queries), rows, scored)

    def scores(self, query: int) -> dict[int, float]:
        """{passage: score} of a query."""
        return dict(self.scored[query].tolist())

    def negatives(self, query: int, positive: int) -> list[int]:
        """The scored passages of a query, without a pair's positive."""
        return [row for row in self.scored[query]["passage"].tolist() if row != positive]
