"""The ids of a corpus on disk: `ids.txt`, one a line, and `ids.npy`, where each line ends."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np

from dpr.base.errors import InputError

LINES, ENDS = "ids.txt", "ids.npy"
AT_ONCE = 65_536  # ids in memory


class Ids(Sequence[str]):
    """Ids by row number. They stay on disk; what is asked for is read.

    Args:
        lines: (bytes,) uint8 memory map of the UTF-8 text.
        ends: (N,) int64 memory map, the first byte after each line.
    """

    def __init__(self, lines: np.ndarray, ends: np.ndarray):
        self.lines, self.ends = lines, ends

    @classmethod
    def open(cls, folder: str | Path) -> "Ids":
        """Raises InputError for files that are missing, truncated or do not fit each other."""
        folder = Path(folder)
        try:
            ends = np.load(folder / ENDS, mmap_mode="r", allow_pickle=False)
            size = (folder / LINES).stat().st_size
            # An empty file cannot be mapped.
            lines = np.memmap(folder / LINES, np.uint8, "r") if size else np.empty(0, np.uint8)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{folder}: its ids cannot be read ({error}); make it again") from None
        if (ends[-1] if len(ends) else 0) != size:
            raise InputError(f"{folder / LINES}: truncated, or not of its {ENDS}; make it again")
        return cls(lines, ends)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> str: ...

    @overload
    def __getitem__(self, row: slice) -> list[str]: ...

    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[at] for at in range(len(self))[row]]
        at = range(len(self))[row]
        start = self.ends[at - 1] if at else 0
        return str(self.lines[start : self.ends[at] - 1].tobytes(), "utf-8")

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), AT_ONCE):
            ends = self.ends[max(first - 1, 0) : first + AT_ONCE]
            start = ends[0] if first else 0
            yield from self.lines[start : ends[-1]].tobytes().decode().split("\n")[:-1]


def write_ids(folder: Path, ids: Iterable[str], count: int) -> None:
    """Both files, from `count` ids; InputError for another number of them."""
    ids, end = iter(ids), 0
    ends = np.lib.format.open_memmap(folder / ENDS, mode="w+", dtype=np.int64, shape=(count,))
    with (folder / LINES).open("wb") as file:
        for first in range(0, count, AT_ONCE):
            lines = [f"{identifier}\n".encode() for identifier in islice(ids, AT_ONCE)]
            if len(lines) < min(AT_ONCE, count - first):
                raise InputError(f"{folder}: {first + len(lines)} ids for {count} passages")
            file.writelines(lines)
            found = end + np.cumsum([len(line) for line in lines])
            ends[first : first + AT_ONCE] = found
            end = int(found[-1])
    if next(ids, None) is not None:
        raise InputError(f"{folder}: more than {count} ids for as many passages")
    ends.flush()
