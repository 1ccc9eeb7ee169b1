"""Encoding a corpus in windows, by one or several processes; a killed run resumes.

Each window has files of its own (`dpr.embeddings.windows`), which the first process joins. So any
number of processes can resume with the remaining windows. At most two windows are in memory.
"""

import itertools
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from dpr.base.environment import ENCODING, installed
from dpr.base.errors import InputError
from dpr.base.files import link_or_copy, new_folder, sha256, temporary_folder, write_json
from dpr.base.processes import SINGLE, ProcessGroup
from dpr.base.progress import progress, say
from dpr.base.resume import Work
from dpr.embeddings.artifact import MANIFEST, VECTORS, Embeddings, stored_type, to_stored
from dpr.embeddings.windows import Windows
from dpr.encoders.embedder import Embedder
from dpr.encoders.tokens import Tokens
from dpr.records.corpus import Corpus
from dpr.records.ids import ENDS, LINES
from dpr.similarity import Similarity

FILES = (VECTORS, LINES, ENDS, MANIFEST)
CODE = ("dpr/base", "dpr/embeddings", "dpr/encoders", "dpr/records", "dpr/similarity.py")


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
    work, windows = _prepare(embedder, corpus, folder)
    _require_equal_keys(work.key, corpus, processes)
    # The first process takes the lock for all.
    with work.locked() if processes.is_first else nullcontext():
        finished = processes.is_first and _is_finished(work)
        (finished_in_first,) = processes.broadcast((float(finished),))
        if not finished_in_first:
            if processes.is_first:
                work.begin()
                windows.begin()
            processes.wait()
            left = windows.left()
            processes.wait()  # until all processes have looked
            mine = left[processes.rank :: processes.size]
            _encode_windows(embedder, corpus, windows, mine, processes.is_first)
            processes.wait()
        if processes.is_first:
            if not finished:
                windows.join()
                _write_manifest(embedder, windows.count, work.folder)
            work.end()
            shutil.rmtree(windows.done, ignore_errors=True)
            with new_folder(folder) as partial:
                for name in FILES:
                    link_or_copy(work.folder / name, partial / name)
        processes.wait()
    return Embeddings.open(folder)


def encode_part(
    embedder: Embedder, corpus: Corpus, folder: Path, part: int, parts: int
) -> tuple[int, int]:
    """Encode the windows `part`, `part + parts`, ... for a later `encode_passages` to `folder`.

    No process waits for another: any number of them may run at any time and on any machine with the
    folder `embedder.scratch`. After a kill, the same part encodes its remaining windows.

    Returns:
        How many windows this call encoded, and how many remain for other parts.
    Raises:
        InputError: as `encode_passages`, or for a part that does not exist.
    """
    if not 0 <= part < parts:
        raise InputError(f"part {part} of {parts}: parts have the numbers 0 to {parts - 1}")
    work, windows = _prepare(embedder, corpus, folder)
    with work.locked():
        if work.is_finished:
            return 0, 0
        work.begin()
        windows.begin()
    mine = [window for window in windows.left() if window % parts == part]
    try:
        _encode_windows(embedder, corpus, windows, mine, shown=True)
    except FileNotFoundError:
        if not work.is_finished:
            raise
        return len(mine), 0  # `encode_passages` has encoded this part, too, and removed the folder
    return len(mine), len(windows.left())


def _prepare(embedder: Embedder, corpus: Corpus, folder: Path) -> tuple[Work, Windows]:
    count = corpus.passage_count()  # fails early on a missing or empty corpus
    inputs = {
        "work": "encode",
        "encoder": embedder.passage_side,
        "passages": sha256(corpus.file),
        "data.separator": corpus.separator,
        "number format": [embedder.format, embedder.engine],
        **{f"encode.{name}": value for name, value in embedder.options.model_dump().items()},
    }
    work = Work.of(embedder.scratch / "encode", inputs, CODE, embedder.device, kind=str(folder))
    row = stored_type(embedder.options.dtype, embedder.dimension)
    return work, Windows(work.folder, count, embedder.options.window, row)


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
    embedder: Embedder, corpus: Corpus, windows: Windows, mine: list[int], shown: bool
) -> None:
    """Encode the windows `mine`; a bar is shown in one process of a group."""
    total = sum(map(windows.length, mine))
    with (
        progress(total=total, unit="passages", shown=shown) as bar,
        temporary_folder(windows.done) as own,
    ):
        for window, ids, tokens in _tokenized(embedder, corpus, mine):
            vectors = embedder.embed(tokens, "passage", bar.update)
            stored = to_stored(vectors, embedder.options.dtype)
            _require_searchable(vectors, stored, embedder.similarity, ids, corpus)
            windows.save(window, stored, ids, own)


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
