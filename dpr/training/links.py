"""Who belongs to whom in the training data, as row numbers: pairs, negatives, judgments, equals.

Built from ids in a few dozen bytes a pair, so that the pairs need not fit in memory as text.
"""

from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from dpr.base.errors import InputError
from dpr.records.id_rows import IdRows, among
from dpr.records.id_set import hash64
from dpr.records.types import Pair
from dpr.training.teacher import TeacherFile


class Links(NamedTuple):
    """The ids of N pairs as digests, see `id_rows`."""

    queries: np.ndarray  # (N,) uint64
    passages: np.ndarray  # (N,) uint64
    negatives: np.ndarray  # (M,) uint64, of all pairs in turn
    owners: np.ndarray  # (M,) int64, the pair of each negative

    @classmethod
    def of(cls, pairs: Iterable[Pair], with_negatives: bool) -> "Links":
        queries, passages, negatives, owners = array("Q"), array("Q"), array("Q"), array("q")
        for number, pair in enumerate(pairs):
            queries.append(hash64(pair.query_id))
            passages.append(hash64(pair.passage_id))
            for negative in pair.negative_ids if with_negatives else ():
                negatives.append(hash64(negative))
                owners.append(number)
        return cls(
            np.frombuffer(queries, np.uint64),
            np.frombuffer(passages, np.uint64),
            np.frombuffer(negatives, np.uint64),
            np.frombuffer(owners, np.int64),
        )

    def passage_digests(self, taught: TeacherFile | None) -> np.ndarray:
        """The passages of the pairs, and those a teacher scored for their queries, ascending."""
        of_pairs = [self.passages, self.negatives]
        if taught:
            of_pairs.append(taught.passages[among(taught.queries, np.unique(self.queries))])
        return np.unique(np.concatenate(of_pairs))

    def rows(
        self, queries: IdRows, passages: IdRows, folder: object
    ) -> tuple[np.ndarray, np.ndarray]:
        """(N, 2) int32 rows of the pairs, (M,) int32 rows of the negatives.

        Raises:
            InputError: for an id that has no text.
        """
        pairs = np.column_stack([queries.of(self.queries), passages.of(self.passages)])
        negatives = passages.of(self.negatives)
        wrong = np.concatenate([np.flatnonzero((pairs < 0).any(1)), self.owners[negatives < 0]])
        if len(wrong):
            raise InputError(
                f"{folder}: training pair {wrong.min() + 1}: its query or one of its passages is "
                "not in the folder; run prepare again"
            )
        return pairs, negatives


def by_first(pairs: np.ndarray, first_query: np.ndarray, first_passage: np.ndarray) -> np.ndarray:
    """(N, 2) int32 query and passage rows -> the first rows with their texts, each pair once.

    Args:
        first_query: the first row with the text of each row; the same for `first_passage`.
    """
    firsts = np.unique(first_query[pairs[:, 0]].astype(np.int64) << 32 | first_passage[pairs[:, 1]])
    return np.column_stack([(firsts >> 32).astype(np.int32), firsts.astype(np.int32)])
