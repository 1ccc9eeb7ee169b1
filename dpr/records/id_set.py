"""A set of ids in eight bytes an id, for corpora whose ids do not fit in memory."""

from array import array
from hashlib import blake2b

import numpy as np


class IdSet:
    """Ids by a 64-bit hash: 10 million different ids collide with a chance of 1 in 400,000."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._sorted: np.ndarray | None = None

    def add(self, identifier: str) -> None:
        self._hashes.append(_hash(identifier))
        self._sorted = None

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, identifier: str) -> bool:
        hashes = self._in_order()
        position = int(np.searchsorted(hashes, np.uint64(_hash(identifier))))
        return position < len(hashes) and int(hashes[position]) == _hash(identifier)

    def duplicates(self) -> "IdSet":
        """The ids that were added more than once."""
        hashes = self._in_order()
        found = IdSet()
        found._hashes = array("Q", np.unique(hashes[1:][hashes[1:] == hashes[:-1]]).tolist())
        return found

    def _in_order(self) -> np.ndarray:
        if self._sorted is None:
            self._sorted = np.sort(np.frombuffer(self._hashes, dtype=np.uint64))
        return self._sorted


def _hash(identifier: str) -> int:
    return int.from_bytes(blake2b(identifier.encode(), digest_size=8).digest(), "little")
