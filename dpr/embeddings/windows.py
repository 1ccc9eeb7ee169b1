"""Encoding window by window, over one process or several, so that a killed run can go on.

A window is done when its file of ids is there; its vectors were written before. So whatever number
of processes begins again, it takes what is left.
"""

import itertools
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dpr.base.errors import InputError
from dpr.base.files import new_file
from dpr.base.processes import ProcessGroup
from dpr.base.progress import progress
from dpr.embeddings.artifact import stored_type, to_stored
from dpr.encoders.embedder import Embedder
from dpr.encoders.tokens import Tokens
from dpr.records.corpus import Corpus
from dpr.records.ids import write_ids
from dpr.settings import EncodeSettings

VECTORS, DONE = "vectors.npy", "windows"


def encode_windows(
    embedder: Embedder,
    corpus: Corpus,
    options: EncodeSettings,
    count: int,
    work: Path,
    processes: ProcessGroup,
) -> None:
    """Fill `vectors.npy`, `ids.txt` and `ids.npy` in `work`. `work / DONE` says what is done."""
    row = stored_type(options.dtype, embedder.dimension)
    if processes.is_first:
        _begin(work, row, count)
    processes.wait()
    windows = range(-(-count // options.window))
    left = [number for number in windows if not _ids(work, number).exists()]
    processes.wait()  # until all have looked
    mine = left[processes.rank :: processes.size]
    offset = np.load(work / VECTORS, mmap_mode="r").offset
    total = sum(len(range(count)[_rows(number, options.window)]) for number in mine)
    with (
        (work / VECTORS).open("r+b") as file,
        progress(total=total, unit="passages", shown=processes.is_first) as bar,
    ):
        for number, ids, tokens in _tokenized(embedder, corpus, options.window, mine):
            found = embedder.embed(tokens, "passage", bar.update)
            stored = to_stored(found, options.dtype)
            _require_finite(found, stored, ids, corpus)
            # Not through the memory map, whose pages count as memory in use.
            file.seek(offset + number * options.window * row.itemsize)
            file.write(stored.tobytes())
            file.flush()
            os.fsync(file.fileno())
            with new_file(_ids(work, number)) as ids_file:
                ids_file.writelines(f"{passage_id}\n" for passage_id in ids)
                ids_file.flush()
                os.fsync(ids_file.fileno())
    processes.wait()
    if processes.is_first:
        texts = (_ids(work, number).read_text(encoding="utf-8") for number in windows)
        write_ids(work, (line for text in texts for line in text.splitlines()), count)


def _begin(work: Path, row: np.dtype, count: int) -> None:
    """A file of vectors to be filled, unless a killed run left one.

    Raises:
        InputError: if the disk has no room for it.
    """
    if (work / DONE).exists() and _fits(work / VECTORS, row, count):
        return
    shutil.rmtree(work / DONE, ignore_errors=True)
    (work / VECTORS).unlink(missing_ok=True)  # not written over: it may have a second name
    needed, free = count * row.itemsize, shutil.disk_usage(work.parent).free
    if needed > free:
        raise _no_room(work.parent, needed, free)
    shape = (count, *row.shape)
    np.lib.format.open_memmap(work / VECTORS, mode="w+", dtype=row.base, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):  # else another process may take what is free now
        try:
            with (work / VECTORS).open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, needed)
        except OSError:
            (work / VECTORS).unlink()
            raise _no_room(work.parent, needed, free) from None
    (work / DONE).mkdir()


def _no_room(folder: Path, needed: int, free: int) -> InputError:
    return InputError(
        f"{folder}: the vectors need {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free; make "
        "room (finished work there may go), or store them as encode.dtype float16 or int8"
    )


def _fits(vectors: Path, row: np.dtype, count: int) -> bool:
    try:
        found = np.load(vectors, mmap_mode="r")
    except (OSError, ValueError, EOFError):  # missing or truncated
        return False
    return len(found) == count and found.strides[0] == row.itemsize


def _ids(work: Path, number: int) -> Path:
    return work / DONE / f"{number}.txt"


def _rows(number: int, size: int) -> slice:
    return slice(number * size, (number + 1) * size)


def _require_finite(
    vectors: np.ndarray, stored: np.ndarray, ids: list[str], corpus: Corpus
) -> None:
    finite = np.isfinite(vectors).all(axis=1)
    if stored.dtype.names is None:
        finite &= np.isfinite(stored).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{corpus.file}: passage {ids[int(finite.argmin())]!r} has a vector with NaN or "
            "infinity; the encoder is broken (a diverged training?) or encode.dtype too narrow"
        )


def _tokenized(
    embedder: Embedder, corpus: Corpus, size: int, numbers: list[int]
) -> Iterator[tuple[int, list[str], list[Tokens]]]:
    """(number, ids, tokens) of each of these windows, read one window ahead in a thread."""
    wanted = set(numbers)
    texts = corpus.texts(lambda row: row // size in wanted)

    def next_window() -> tuple[list[str], list[Tokens]]:
        window = list(itertools.islice(texts, size))
        tokens = embedder.tokenizer.tokenize([text for _, text in window], "passage")
        return [passage_id for passage_id, _ in window], tokens

    with ThreadPoolExecutor(1) as thread:
        ahead = thread.submit(next_window)
        for number in numbers:
            ids, tokens = ahead.result()
            ahead = thread.submit(next_window)
            yield number, ids, tokens
