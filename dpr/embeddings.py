"""The embeddings artifact: `vectors.npy`, `ids.txt` (one id a row) and `manifest.json`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpr.errors import InputError
from dpr.files import new_file, read_json

READ_AT_ONCE = 65_536  # rows
VECTORS, IDS, MANIFEST = "vectors.npy", "ids.txt", "manifest.json"


@dataclass(frozen=True)
class Embeddings:
    """Passage vectors, row by row in the order of the corpus.

    `vectors` is a memory map, (N, D) float32 or float16. `manifest` holds similarity, dimension,
    count, dtype, the encoder's spec and fingerprint, and the sha256 of the vectors.
    """

    vectors: np.ndarray
    ids: list[str]
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> "Embeddings":
        """Raises InputError where the files are missing, cut short or do not fit each other."""
        folder = Path(folder)
        manifest = read_json(folder / MANIFEST)
        try:
            vectors = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{folder / VECTORS}: cannot be read ({error}); encode again"
            ) from None
        ids = read_ids(folder / IDS)
        shape = (manifest["count"], manifest["dimension"])
        if vectors.shape != shape or len(ids) != manifest["count"]:
            raise InputError(
                f"{folder}: the manifest says {shape}, the vectors are {vectors.shape} and "
                f"there are {len(ids)} ids; encode again"
            )
        return cls(vectors, ids, manifest)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows from `start` to `stop`, no further than there are any, as (n, D) float32.

        They are read from the file, not from the map: pages of a map count as memory in use.
        """
        stop = min(stop, len(self.vectors))
        path = getattr(self.vectors, "filename", None)
        if path is None:
            return np.array(self.vectors[start:stop], dtype=np.float32)
        width, dtype = self.vectors.shape[1], self.vectors.dtype
        with Path(path).open("rb") as file:
            file.seek(self.vectors.offset + start * width * dtype.itemsize)
            flat = np.fromfile(file, dtype, (stop - start) * width)
        return flat.reshape(-1, width).astype(np.float32, copy=False)

    def sample(self, rows: np.ndarray) -> np.ndarray:
        """Some rows, by ascending number, as (n, D) float32."""
        sampled = np.empty((len(rows), self.vectors.shape[1]), dtype=np.float32)
        for at in range(0, len(self.vectors), READ_AT_ONCE):
            first, last = np.searchsorted(rows, (at, at + READ_AT_ONCE))
            if last > first:
                sampled[first:last] = self.read(at, at + READ_AT_ONCE)[rows[first:last] - at]
        return sampled


def write_ids(path: Path, ids: Iterable[str]) -> None:
    with new_file(path) as file:
        file.writelines(passage_id + "\n" for passage_id in ids)


def read_ids(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that makes it") from None
