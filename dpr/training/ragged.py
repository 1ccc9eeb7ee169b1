"""Rows of different lengths in a file, such as the token ids of texts: memory stays flat."""

import os
from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike


class Ragged:
    """Row i is `values[offsets[i]:offsets[i + 1]]`.

    The values are read from the file when they are asked for, and not through a memory map, whose
    pages count as memory in use.
    """

    def __init__(self, path: Path, dtype: DTypeLike):
        self.dtype = np.dtype(dtype)
        self.offsets = np.load(_offsets(path), mmap_mode="r", allow_pickle=False)
        self._file = path.open("rb")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        start, stop = (int(at) * self.dtype.itemsize for at in self.offsets[row : row + 2])
        return np.frombuffer(os.pread(self._file.fileno(), stop - start, start), self.dtype)

    @classmethod
    def write(cls, path: Path, dtype: DTypeLike, rows: Iterable[np.ndarray]) -> "Ragged":
        """Write rows one by one; only their lengths stay in memory."""
        lengths = array("q")
        with path.open("wb") as file:
            for row in rows:
                file.write(np.ascontiguousarray(row, dtype).data)
                lengths.append(len(row))
        return cls._finish(path, dtype, np.frombuffer(lengths, np.int64))

    @classmethod
    def group(
        cls, path: Path, dtype: DTypeLike, count: int, rows: np.ndarray, values: np.ndarray
    ) -> "Ragged":
        """Write values by the row, of `count` rows, that each belongs to; their order stays."""
        values[np.argsort(rows, kind="stable")].astype(dtype).tofile(path)
        return cls._finish(path, dtype, np.bincount(rows, minlength=count))

    @classmethod
    def _finish(cls, path: Path, dtype: DTypeLike, lengths: np.ndarray) -> "Ragged":
        np.save(_offsets(path), np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))
        return cls(path, dtype)


def _offsets(path: Path) -> Path:
    return path.with_name(path.name + ".offsets.npy")
