"""A set of ids in eight bytes an id, for corpora whose ids do not fit in memory."""

from array import array
from bisect import bisect_left
from hashlib import blake2b

import numpy as np


class IdSet:
    """Ids by a 64-bit hash: 10 million different ids collide with a chance of 1 in 400,000."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._sorted = True

    def add(self, identifier: str) -> None:
        self._hashes.append(hash64(identifier))
        self._sorted = False

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, identifier: str) -> bool:
        hashes, wanted = self._in_order(), hash64(identifier)
        position = bisect_left(hashes, wanted)
        return position < len(hashes) and hashes[position] == wanted

    def distinct(self) -> int:
        """How many different ids were added."""
        return len(np.unique(np.frombuffer(self._hashes, np.uint64)))

    def duplicates(self) -> "IdSet":
        """The ids that were added more than once."""
        hashes = np.frombuffer(self._in_order(), np.uint64)
        found = IdSet()
        found._hashes.frombytes(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]).tobytes())
        return found

    def _in_order(self) -> array:
        if not self._sorted:
            np.frombuffer(self._hashes, np.uint64).sort()
            self._sorted = True
        return self._hashes


def hash64(data: str | bytes) -> int:
    data = data.encode() if isinstance(data, str) else data
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
