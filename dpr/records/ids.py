"""Ids of corpora that do not fit in memory: on disk (`Ids`), as a set, and as row numbers.

Sets and row numbers hold 64-bit hashes. 10 million ids collide with a chance of 1 in 400,000.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np

from dpr.base.errors import InputError
from dpr.base.files import memory_map

LINES, ENDS = "ids.txt", "ids.npy"  # one id per line, and where each line ends
AT_ONCE = 65_536  # ids in memory


class Ids(Sequence[str]):
    """Ids by row number. They stay on disk, and each access reads its rows.

    Args:
        lines: (bytes,) uint8 memory map of the UTF-8 text.
        ends: (N,) int64 memory map, the first byte after each line.
    """

    def __init__(self, lines: np.ndarray, ends: np.ndarray):
        self.lines, self.ends = lines, ends

    @classmethod
    def open(cls, folder: str | Path) -> "Ids":
        """InputError if a file is missing or truncated, or does not match the other file."""
        folder = Path(folder)
        ends = memory_map(folder / ENDS, "make it again")
        try:
            size = (folder / LINES).stat().st_size
            # An empty file cannot be mapped.
            lines = np.memmap(folder / LINES, np.uint8, "r") if size else np.empty(0, np.uint8)
        except OSError as error:
            raise InputError(f"{folder / LINES}: cannot be read ({error}); make it again") from None
        if ends.dtype != np.int64 or ends.ndim != 1 or (ends[-1] if len(ends) else 0) != size:
            raise InputError(
                f"{folder / LINES}: truncated, or does not match {ENDS}; make it again"
            )
        return cls(lines, ends)

    def _text(self, start: int, end: int) -> str:
        try:
            return str(self.lines[start:end].tobytes(), "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{LINES}: damaged ({error}); make it again") from None

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> str: ...

    @overload
    def __getitem__(self, row: slice) -> list[str]: ...

    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[number] for number in range(len(self))[row]]
        number = range(len(self))[row]
        start = self.ends[number - 1] if number else 0
        return self._text(start, self.ends[number] - 1)

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), AT_ONCE):
            ends = self.ends[max(first - 1, 0) : first + AT_ONCE]
            start = ends[0] if first else 0
            yield from self._text(start, ends[-1]).split("\n")[:-1]


def write_ids(folder: Path, ids: Iterable[str], count: int) -> None:
    """Write both files; InputError if there are not `count` ids."""
    ids, end = iter(ids), 0
    ends = np.lib.format.open_memmap(folder / ENDS, mode="w+", dtype=np.int64, shape=(count,))
    with (folder / LINES).open("wb") as file:
        for first in range(0, count, AT_ONCE):
            lines = [f"{identifier}\n".encode() for identifier in islice(ids, AT_ONCE)]
            if len(lines) < min(AT_ONCE, count - first):
                raise InputError(f"{folder}: {first + len(lines)} ids for {count} passages")
            file.writelines(lines)
            block = end + np.cumsum([len(line) for line in lines])
            ends[first : first + AT_ONCE] = block
            end = int(block[-1])
    if next(ids, None) is not None:
        raise InputError(f"{folder}: more than {count} ids for as many passages")
    ends.flush()


class IdHashes:
    """Eight bytes for each added id; an id that is added twice counts twice in `len`."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._sorted = True

    def add(self, identifier: str) -> None:
        self._hashes.append(hash64(identifier))
        self._sorted = False

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, identifier: str) -> bool:
        hashes, hashed = self._in_order(), hash64(identifier)
        position = bisect_left(hashes, hashed)
        return position < len(hashes) and hashes[position] == hashed

    def distinct(self) -> int:
        """The number of different ids."""
        return len(np.unique(np.frombuffer(self._hashes, np.uint64)))

    def duplicates(self) -> "IdHashes":
        """The ids that were added more than once."""
        hashes = np.frombuffer(self._in_order(), np.uint64)
        repeated = IdHashes()
        repeated._hashes.frombytes(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]).tobytes())
        return repeated

    def _in_order(self) -> array:
        if not self._sorted:
            np.frombuffer(self._hashes, np.uint64).sort()
            self._sorted = True
        return self._hashes


def hash64(data: str | bytes) -> int:
    data = data.encode() if isinstance(data, str) else data
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


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
        places = np.minimum(np.searchsorted(self.sorted, wanted), len(self) - 1)
        return np.where(self.sorted[places] == wanted, self.order[places], np.int32(-1))

    def all_of(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) digests -> (M,) positions in `wanted` and (M,) int32 rows, all rows of each id."""
        first, end = (np.searchsorted(self.sorted, wanted, side) for side in ("left", "right"))
        counts = end - first
        which = np.repeat(np.arange(len(wanted)), counts)
        nth = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        return which, self.order[first[which] + nth]


def among(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(N,) digests -> (N,) bool: whether each is one of `wanted`, which ascend."""
    first, after_last = (np.searchsorted(wanted, keys, side) for side in ("left", "right"))
    return np.asarray(first < after_last)


def first_of_equals(of_rows: np.ndarray) -> np.ndarray:
    """(N,) digests of texts -> (N,) int32: the first row with the same text."""
    _, first, back = np.unique(of_rows, return_index=True, return_inverse=True)
    return first[back].astype(np.int32)
