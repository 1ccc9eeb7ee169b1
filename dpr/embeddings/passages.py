"""Encoding a corpus in windows, by one or several processes; a killed run resumes.

A window is finished once its file of ids exists, which is written after its vectors. So any number
of processes can resume with the remaining windows. At most two windows are in memory.
"""

import itertools
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from dpr.base.environment import ENCODING, installed
from dpr.base.errors import InputError
from dpr.base.files import link_or_copy, new_file, new_folder, sha256, write_json
from dpr.base.processes import SINGLE, ProcessGroup
from dpr.base.progress import progress, say
from dpr.base.resume import Work
from dpr.embeddings.artifact import MANIFEST, VECTORS, Embeddings, stored_type, to_stored
from dpr.encoders.embedder import Embedder
from dpr.encoders.tokens import Tokens
from dpr.records.corpus import Corpus
from dpr.records.ids import ENDS, LINES, write_ids
from dpr.similarity import Similarity

FILES = (VECTORS, LINES, ENDS, MANIFEST)
CODE = ("dpr/base", "dpr/embeddings", "dpr/encoders", "dpr/records", "dpr/similarity.py")
DONE = "windows"  # folder with a file of ids for each finished window


def encode_passages(
    embedder: Embedder, corpus: Corpus, folder: Path, processes: ProcessGroup = SINGLE
) -> Embeddings:
    """Encode a corpus into the embeddings artifact `folder`; each process encodes some windows.

    Finished windows are in `embedder.scratch`, in a folder named by a hash of the inputs. After a
    kill, the next run with the same inputs resumes there and ends with the same bytes. The number
    of processes may change; on a CPU, the number of threads per process may not.

    The artifact stays in the scratch folder, so a second encoder with the same passage side encodes
    nothing. `folder` gets links to its files, or copies on a different file system.

    Raises:
        InputError: for an empty corpus, a vector that is not finite, a disk without enough room, or
            processes with different inputs.
    """
    count = corpus.passage_count()  # fails early on a missing or empty corpus
    inputs = {
        "work": "encode",
        "encoder": embedder.passage_side,
        "passages": sha256(corpus.file),
        "data.separator": corpus.separator,
        "number format": [embedder.format, embedder.engine],
        **{f"encode.{name}": value for name, value in embedder.options.model_dump().items()},
    }
    scratch = embedder.scratch / "encode"
    work = Work.of(scratch, inputs, CODE, embedder.device, kind=str(folder))
    _require_equal_keys(work.key, corpus, processes)
    # The first process takes the lock for all.
    with work.locked() if processes.is_first else nullcontext():
        finished = processes.is_first and _is_finished(work)
        (finished_in_first,) = processes.broadcast((float(finished),))
        if not finished_in_first:
            if processes.is_first:
                work.begin()
            _encode_windows(embedder, corpus, count, work.folder, processes)
        if processes.is_first:
            if not finished:
                _write_manifest(embedder, count, work.folder)
            work.end()
            shutil.rmtree(work.folder / DONE, ignore_errors=True)
            with new_folder(folder) as partial:
                for name in FILES:
                    link_or_copy(work.folder / name, partial / name)
        processes.wait()
    return Embeddings.open(folder)


def _require_equal_keys(key: str, corpus: Corpus, processes: ProcessGroup) -> None:
    number = float(int(key[:12], 16))
    if processes.broadcast((number,)) != (number,):
        raise InputError(
            f"process {processes.rank + 1} would compute different vectors than the first: its "
            f"{corpus.file}, params.yaml, versions, processor or number of threads differ; use "
            "equal files on equal machines, and set `threads` if the machines differ in cores"
        )


def _is_finished(work: Work) -> bool:
    """Whether the artifact is finished and intact; a damaged one is removed."""
    if not work.is_finished:
        return False
    try:
        manifest = Embeddings.open(work.folder).manifest
        if sha256(work.folder / VECTORS) == manifest["sha256"]:
            say(f"{work.folder}: encoded before; used again")
            return True
    except (OSError, InputError):
        pass
    shutil.rmtree(work.folder)
    return False


def _write_manifest(embedder: Embedder, count: int, folder: Path) -> None:
    manifest = {
        "count": count,
        "dimension": embedder.dimension,
        "dtype": embedder.options.dtype,
        "encoder": {"sha256": embedder.passage_side, **embedder.spec.passage_side(embedder.folder)},
        "format": embedder.format,
        "ids_sha256": sha256(folder / LINES),
        "sha256": sha256(folder / VECTORS),
        "similarity": embedder.spec.similarity,
        "versions": installed(*ENCODING),
    }
    write_json(folder / MANIFEST, manifest)


def _encode_windows(
    embedder: Embedder, corpus: Corpus, count: int, folder: Path, processes: ProcessGroup
) -> None:
    """Fill `vectors.npy`, `ids.txt` and `ids.npy` in `folder`."""
    dtype, size = embedder.options.dtype, embedder.options.window
    row, vectors_file = stored_type(dtype, embedder.dimension), folder / VECTORS

    def ids_file(window: int) -> Path:
        return folder / DONE / f"{window}.txt"

    if processes.is_first:
        _begin(folder, row, count)
    processes.wait()
    windows = range(-(-count // size))
    left = [window for window in windows if not ids_file(window).exists()]
    processes.wait()  # until all processes have looked
    mine = left[processes.rank :: processes.size]
    offset = np.load(vectors_file, mmap_mode="r").offset
    total = sum(min(size, count - window * size) for window in mine)
    with (
        vectors_file.open("r+b") as file,
        progress(total=total, unit="passages", shown=processes.is_first) as bar,
    ):
        for window, ids, tokens in _tokenized(embedder, corpus, mine):
            vectors = embedder.embed(tokens, "passage", bar.update)
            stored = to_stored(vectors, dtype)
            _require_searchable(vectors, stored, embedder.similarity, ids, corpus)
            # Not through a memory map: pages of a map count as memory in use.
            file.seek(offset + window * size * row.itemsize)
            file.write(stored.tobytes())
            file.flush()
            os.fsync(file.fileno())
            with new_file(ids_file(window)) as done:
                done.writelines(f"{passage_id}\n" for passage_id in ids)
                done.flush()
                os.fsync(done.fileno())
    processes.wait()
    if processes.is_first:
        texts = (ids_file(window).read_text(encoding="utf-8") for window in windows)
        write_ids(folder, (line for text in texts for line in text.splitlines()), count)


def _tokenized(
    embedder: Embedder, corpus: Corpus, windows: list[int]
) -> Iterator[tuple[int, list[str], list[Tokens]]]:
    """(window, ids, tokens); a thread tokenizes the next window while the caller embeds one."""
    size, wanted = embedder.options.window, set(windows)
    texts = corpus.texts(lambda row: row // size in wanted)

    def read() -> tuple[list[str], list[Tokens]]:
        passages = list(itertools.islice(texts, size))
        tokens = embedder.tokenizer.tokenize([text for _, text in passages], "passage")
        return [passage_id for passage_id, _ in passages], tokens

    with ThreadPoolExecutor(1) as thread:
        ahead = thread.submit(read)
        for window in windows:
            ids, tokens = ahead.result()
            ahead = thread.submit(read)
            yield window, ids, tokens


def _begin(folder: Path, row: np.dtype, count: int) -> None:
    """Allocate the file of vectors, unless a killed run left one. The folder `DONE` is made last.

    Raises:
        InputError: for a disk without enough room.
    """
    vectors_file = folder / VECTORS
    if (folder / DONE).exists() and vectors_file.exists():
        return
    shutil.rmtree(folder / DONE, ignore_errors=True)
    vectors_file.unlink(missing_ok=True)  # not overwritten: a second link may share it
    needed, free = count * row.itemsize, shutil.disk_usage(folder.parent).free
    no_room = InputError(
        f"{folder.parent}: the vectors need {needed / 2**30:.1f} GiB, but {free / 2**30:.1f} are "
        "free; make room (finished work there can be removed), or set encode.dtype to float16 or "
        "int8"
    )
    if needed > free:
        raise no_room
    shape = (count, *row.shape)
    np.lib.format.open_memmap(vectors_file, mode="w+", dtype=row.base, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):  # so that nothing else fills the disk first
        try:
            with vectors_file.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, needed)
        except OSError:
            vectors_file.unlink()
            raise no_room from None
    (folder / DONE).mkdir()


def _require_searchable(
    vectors: np.ndarray,
    stored: np.ndarray,
    similarity: Similarity,
    ids: list[str],
    corpus: Corpus,
) -> None:
    good = np.isfinite(vectors).all(axis=1)
    if stored.dtype.names is None:
        good &= np.isfinite(stored).all(axis=1)
    if similarity.normalize:
        good &= vectors.any(axis=1)
    if not good.all():
        raise InputError(
            f"{corpus.file}: passage {ids[int(good.argmin())]!r} has a vector with NaN, infinity "
            "or norm 0; the encoder is broken (a diverged training?) or encode.dtype is too narrow"
        )
