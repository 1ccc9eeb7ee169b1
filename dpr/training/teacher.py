"""A teacher's scores of passages for the training queries, by row numbers."""

from array import array
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dpr.base.errors import InputError
from dpr.records.id_rows import IdRows
from dpr.records.id_set import hash64
from dpr.records.scores import read_scores
from dpr.training.ragged import Ragged


class TeacherFile(NamedTuple):
    """The file's queries, passages (digests of ids, see `id_rows`) and scores, a row each."""

    queries: np.ndarray  # (N,) uint64
    passages: np.ndarray  # (N,) uint64
    scores: np.ndarray  # (N,) float32

    @classmethod
    def read(cls, path: Path) -> "TeacherFile":
        """Errors as `read_scores`; the stage that writes the file has checked its ids."""
        queries, passages, scores = array("Q"), array("Q"), array("f")
        for _, query_id, passage_ids, given in read_scores(path):
            queries.extend([hash64(query_id)] * len(passage_ids))
            passages.extend(hash64(passage_id) for passage_id in passage_ids)
            scores.extend(given)
        return cls(
            np.frombuffer(queries, np.uint64),
            np.frombuffer(passages, np.uint64),
            np.frombuffer(scores, np.float32),
        )


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

    def others(self, query: int, passage: int) -> list[int]:
        """The scored passages of a query but for one."""
        return [other for other in self.passages[query].tolist() if other != passage]
