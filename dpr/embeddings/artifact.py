"""The embeddings artifact: `vectors.npy`, the ids of its rows and `manifest.json`.

Vectors are stored as float32, as float16, or as int8 with one scale per vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dpr.base.errors import InputError
from dpr.base.files import memory_map, read_manifest, sha256
from dpr.records.ids import LINES, Ids

READ_AT_ONCE = 65_536  # rows
VECTORS, MANIFEST = "vectors.npy", "manifest.json"
KEYS = {
    **{"count": int, "similarity": str, "sha256": str, "ids_sha256": str},
    **{"encoder": dict, "format": str},
}


@dataclass(frozen=True)
class Embeddings:
    """Passage vectors, one row per passage, in the order of the corpus.

    `vectors` is a memory map of N rows. `manifest` has similarity, dimension, count, dtype, and the
    sha256 of vectors and ids. It also has the encoder's spec and fingerprint, and the number format
    and package versions of the encoding.
    """

    vectors: np.ndarray
    ids: Sequence[str]
    manifest: dict[str, Any]
    folder: Path = Path()

    @classmethod
    def open(cls, folder: str | Path) -> "Embeddings":
        """Raises InputError for files that are missing, truncated or inconsistent."""
        folder = Path(folder)
        manifest = read_manifest(folder / MANIFEST, KEYS, "encode again")
        vectors = memory_map(folder / VECTORS, "encode again")
        if not _is_stored(vectors):
            raise InputError(f"{folder / VECTORS}: damaged, no vectors; encode again")
        ids = Ids.open(folder)
        count = manifest["count"]
        if len(vectors) != count or len(ids) != count:
            raise InputError(
                f"{folder}: the manifest says {count} passages, but there are {len(vectors)} "
                f"vectors and {len(ids)} ids; encode again"
            )
        if sha256(folder / LINES) != manifest["ids_sha256"]:
            raise InputError(
                f"{folder / LINES}: damaged (its hash differs from the manifest); encode again"
            )
        return cls(vectors, ids, manifest, folder)

    @property
    def dimension(self) -> int:
        return _dimension_of(self.vectors)

    @property
    def described(self) -> str:
        dtype = self.manifest.get("dtype", self.vectors.dtype)
        return f"{len(self.vectors):,} passages, {self.dimension} dimensions, stored as {dtype}"

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop`, fewer at the end, as (n, D) float32.

        Reads the file, not the memory map: pages of a map count as memory in use.
        """
        stop = min(stop, len(self.vectors))
        raw = None
        if isinstance(self.vectors, np.memmap):
            shape = (stop - start, *self.vectors.shape[1:])
            raw = np.empty_like(self.vectors, shape=shape, subok=False)
        return self.fill(np.empty((stop - start, self.dimension), np.float32), raw, start)

    def fill(self, into: np.ndarray, raw: np.ndarray | None, start: int) -> np.ndarray:
        """Fill `into` with the rows from `start` on, and return it.

        A loop reuses both arrays: memory that each chunk allocates anew is returned late.

        Args:
            raw: a buffer for the rows as stored; None if the vectors are in memory.
        """
        if not isinstance(self.vectors, np.memmap) or raw is None:
            return from_stored(self.vectors[start : start + len(into)], into)
        with Path(str(self.vectors.filename)).open("rb") as file:
            file.seek(self.vectors.offset + start * self.vectors.strides[0])
            file.readinto(raw.view(np.uint8).data)
        return from_stored(raw, into)

    def take(self, rows: np.ndarray | list[int]) -> np.ndarray:
        """A few rows, as (n, D) float32."""
        return from_stored(np.asarray(self.vectors[rows]))

    def sample(self, rows: np.ndarray) -> np.ndarray:
        """Many rows, given in ascending order, as (n, D) float32."""
        sampled = np.empty((len(rows), self.dimension), dtype=np.float32)
        for start in range(0, len(self.vectors), READ_AT_ONCE):
            first, last = np.searchsorted(rows, (start, start + READ_AT_ONCE))
            if last > first:
                chunk = self.read(start, start + READ_AT_ONCE)
                sampled[first:last] = chunk[rows[first:last] - start]
        return sampled


def stored_type(dtype: str, dimension: int) -> np.dtype:
    """The NumPy type of one stored vector. In int8 it takes D + 4 bytes."""
    if dtype != "int8":
        return np.dtype((dtype, (dimension,)))
    return np.dtype([("numbers", np.int8, (dimension,)), ("scale", np.float32)])


def to_stored(vectors: np.ndarray, dtype: str) -> np.ndarray:
    """(N, D) float32 vectors -> (N, D) in `dtype`, or N rows of `stored_type` in int8.

    In int8, the component of largest magnitude becomes 127 or -127. The scale restores its size.
    """
    if dtype != "int8":
        with np.errstate(over="ignore"):  # the caller checks for infinity
            return vectors.astype(dtype)
    scales = np.abs(vectors).max(axis=1) / 127
    stored = np.empty(len(vectors), stored_type(dtype, vectors.shape[1]))
    stored["numbers"] = np.rint(vectors / np.where(scales > 0, scales, 1)[:, None])
    stored["scale"] = scales
    return stored


def from_stored(stored: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
    """Stored vectors -> (N, D) float32, in the array `into` if it is given."""
    if into is None:
        into = np.empty((len(stored), _dimension_of(stored)), np.float32)
    if stored.dtype.names:
        np.multiply(stored["numbers"], stored["scale"][:, None], out=into)
    elif stored.dtype == np.float16:  # torch is ten times as fast as NumPy
        torch.from_numpy(into).copy_(torch.from_numpy(np.ascontiguousarray(stored)))
    else:
        into[:] = stored
    return into


def _is_stored(vectors: np.ndarray) -> bool:
    """Whether `to_stored` could have returned this array."""
    if vectors.dtype.names == ("numbers", "scale"):
        dimensions = vectors.dtype["numbers"].shape or (0,)
        return vectors.ndim == 1 and vectors.dtype == stored_type("int8", dimensions[0])
    return vectors.ndim == 2 and vectors.dtype in (np.float32, np.float16)


def _dimension_of(stored: np.ndarray) -> int:
    if stored.dtype.names is None:
        return stored.shape[1]
    return int(stored.dtype["numbers"].shape[0])
