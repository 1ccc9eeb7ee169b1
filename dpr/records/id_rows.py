"""Ids as numbers: which row an id has, in a few bytes an id."""

from array import array
from collections.abc import Iterable

import numpy as np

from dpr.records.id_set import hash64


def digests(ids: Iterable[str]) -> np.ndarray:
    """(N,) uint64 digests of ids."""
    return np.frombuffer(array("Q", map(hash64, ids)), np.uint64)


class IdRows:
    """The rows of ids, given as digests."""

    def __init__(self, of_rows: np.ndarray):
        self.order = np.argsort(of_rows, kind="stable").astype(np.int32)
        self.sorted = of_rows[self.order]

    def __len__(self) -> int:
        return len(self.sorted)

    def of(self, wanted: np.ndarray) -> np.ndarray:
        """(N,) digests -> (N,) int32 rows, -1 for an id that has none."""
        if not len(self):
            return np.full(len(wanted), -1, np.int32)
        at = np.minimum(np.searchsorted(self.sorted, wanted), len(self) - 1)
        return np.where(self.sorted[at] == wanted, self.order[at], np.int32(-1))


def among(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(N,) digests -> (N,) bool: which are among the wanted ones, which ascend."""
    if not len(wanted):
        return np.zeros(len(keys), dtype=bool)
    at = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    return np.asarray(wanted[at] == keys)


def first_of_equals(of_rows: np.ndarray) -> np.ndarray:
    """(N,) digests of texts -> (N,) int32: the first row with the same text."""
    _, first, back = np.unique(of_rows, return_index=True, return_inverse=True)
    return first[back].astype(np.int32)
