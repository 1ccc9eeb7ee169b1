"""The files of an unfinished encoding: vectors and ids of each window, which are joined at the end.

A window is finished once its file of ids exists, which is written last. No two processes write into
one file: on a network file system, one could overwrite a page of the other.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dpr.base.errors import InputError
from dpr.embeddings.artifact import VECTORS
from dpr.records.ids import write_ids


@dataclass(frozen=True)
class Windows:
    """The windows of an encoding, and their files in `done`.

    Args:
        count: passages in all windows.
        size: passages per window; the last one may have fewer.
        row: the type of a stored vector.
    """

    folder: Path
    count: int
    size: int
    row: np.dtype

    @property
    def done(self) -> Path:
        return self.folder / "windows"

    @property
    def all(self) -> range:
        return range(-(-self.count // self.size))

    def length(self, window: int) -> int:
        return min(self.size, self.count - window * self.size)

    def left(self) -> list[int]:
        """The windows that are not finished."""
        files = (self._vectors, self._ids)
        return [w for w in self.all if not all(file(w).exists() for file in files)]

    def begin(self) -> None:
        """Make the file of all vectors, unless a killed run left one. The folder is made last.

        Raises:
            InputError: for a disk without enough room.
        """
        vectors_file = self.folder / VECTORS
        if self.done.exists() and vectors_file.exists():
            return
        shutil.rmtree(self.done, ignore_errors=True)
        vectors_file.unlink(missing_ok=True)  # not overwritten: a second link may share it
        needed = self.count * self.row.itemsize
        if needed > (free := shutil.disk_usage(self.folder.parent).free):
            raise InputError(
                f"{self.folder.parent}: the vectors need {needed / 2**30:.1f} GiB, but "
                f"{free / 2**30:.1f} are free; make room (finished work there can be removed), or "
                "set encode.dtype to float16 or int8"
            )
        shape = (self.count, *self.row.shape)  # the file is sparse: it takes no room yet
        np.lib.format.open_memmap(vectors_file, "w+", self.row.base, shape).flush()
        self.done.mkdir()

    def save(self, window: int, stored: np.ndarray, ids: list[str], own: Path) -> None:
        """Write a window's vectors, then its ids: each file appears whole, or not at all.

        Args:
            own: a folder of this process, as a different one may save the same window.
        """
        lines = "".join(f"{passage_id}\n" for passage_id in ids)
        contents = {self._vectors(window): stored.tobytes(), self._ids(window): lines.encode()}
        for path, content in contents.items():
            with (own / path.name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            (own / path.name).replace(path)
        os.utime(self.folder)  # `Work` removes the folders that are oldest

    def join(self) -> None:
        """Write `vectors.npy`, `ids.txt` and `ids.npy` of all windows.

        The file of a window is emptied once its vectors are in `vectors.npy`. So the disk holds all
        vectors once, and a killed run resumes here too.
        """
        vectors_file = self.folder / VECTORS
        offset = np.load(vectors_file, mmap_mode="r").offset
        # Not through a memory map: pages of a map count as memory in use.
        with vectors_file.open("r+b") as file:
            for window in self.all:
                content = self._vectors(window).read_bytes()
                if not content:
                    continue
                if len(content) != self.length(window) * self.row.itemsize:
                    raise InputError(
                        f"{self._vectors(window)}: truncated; remove {self.folder} and encode again"
                    )
                file.seek(offset + window * self.size * self.row.itemsize)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.truncate(self._vectors(window), 0)
        texts = (self._ids(window).read_text(encoding="utf-8") for window in self.all)
        write_ids(self.folder, (line for text in texts for line in text.splitlines()), self.count)

    def _vectors(self, window: int) -> Path:
        return self.done / f"{window}.vectors"

    def _ids(self, window: int) -> Path:
        return self.done / f"{window}.txt"
