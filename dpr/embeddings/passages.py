"""Encoding a corpus: memory is bounded by a window of passages, and a killed run resumes."""

import itertools
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from dpr.base import resume
from dpr.base.errors import InputError
from dpr.base.files import read_json, sha256, write_json
from dpr.base.versions import ENCODING, installed
from dpr.embeddings.artifact import IDS, MANIFEST, VECTORS, Embeddings
from dpr.encoders.embedder import Embedder
from dpr.encoders.tokens import Tokens
from dpr.records.corpus import Corpus
from dpr.settings import EncodeSettings

PLACES = 8  # folders that may have the same embeddings
PROGRESS = "progress.json"  # rows and bytes of ids done, until the run is complete


def encode_passages(
    embedder: Embedder, corpus: Corpus, options: EncodeSettings, folder: Path, scratch: Path
) -> None:
    """Encode a corpus into the embeddings artifact `folder`.

    A killed run leaves its complete windows in a subfolder of `scratch`, named by a key. The next
    run with the same inputs resumes there and ends with the same bytes.

    Raises:
        InputError: for an empty corpus, or a vector that is not finite.
    """
    count = corpus.passage_count()  # a corpus that is missing or empty is an error before the work
    inputs = {
        "encoder": embedder.passage_side,
        "corpus": sha256(corpus.file),
        "separator": corpus.separator,
        "options": options.model_dump(),
        "format": [embedder.format, embedder.engine],
    }
    key = resume.key(inputs, embedder.device)
    work, made = scratch / key, scratch / f"{key}.json"
    scratch.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{work}.lock"):  # another experiment may be encoding the same
        if not _copied(made, folder, work):
            _encode_windows(embedder, corpus, options, count, work)
            manifest = {
                "count": count,
                "dimension": embedder.dimension,
                "dtype": options.dtype,
                "encoder": {"sha256": embedder.passage_side, **embedder.spec.passage_side()},
                "format": embedder.format,
                "sha256": sha256(work / VECTORS),
                "similarity": embedder.spec.similarity,
                "versions": installed(*ENCODING),
            }
            write_json(work / MANIFEST, manifest)
            (work / PROGRESS).unlink()
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(work, folder)
        known = [str(folder.resolve()), *_places(made)]
        write_json(made, {"folders": known[:PLACES], "sha256": sha256(folder / VECTORS)})


def _places(made: Path) -> list[str]:
    return list(read_json(made)["folders"]) if made.exists() else []


def _copied(made: Path, folder: Path, work: Path) -> bool:
    """Whether another folder had the same embeddings, which are now in `work`.

    `made` says where they were written last. An encoder whose passage side was not trained is not
    encoded again.
    """
    for other in map(Path, _places(made)):
        if other == folder.resolve():
            continue
        shutil.rmtree(work, ignore_errors=True)  # what a killed run left
        try:  # the other folder is not locked: what counts is what has been copied
            shutil.copytree(other, work)
            Embeddings.open(work)
            if sha256(work / VECTORS) == read_json(made)["sha256"]:
                return True
        except (OSError, InputError):
            pass
        shutil.rmtree(work, ignore_errors=True)
    return False


def _encode_windows(
    embedder: Embedder, corpus: Corpus, options: EncodeSettings, count: int, work: Path
) -> None:
    """Fill `vectors.npy` and `ids.txt` in `work`, and note after each window how far they are."""
    work.mkdir(exist_ok=True)
    resumable = (work / PROGRESS).exists() and (work / VECTORS).exists()
    progress = read_json(work / PROGRESS) if resumable else {"rows": 0, "bytes": 0}
    done = progress["rows"]
    vectors = np.lib.format.open_memmap(
        work / VECTORS,
        mode="r+" if done else "w+",
        dtype=options.dtype,
        shape=(count, embedder.dimension),
    )
    with (
        (work / IDS).open("ab") as ids_file,
        tqdm(total=count, initial=done, unit=" passages", disable=None) as bar,
    ):
        ids_file.truncate(progress["bytes"])
        for ids, tokens in _tokenized_windows(embedder, corpus, options.window, done):
            rows = embedder.embed(tokens, "passage", bar.update).astype(options.dtype)
            finite = np.isfinite(rows).all(axis=1)
            if not finite.all():
                raise InputError(
                    f"{corpus.file}: passage {ids[int(finite.argmin())]!r} has a vector with NaN "
                    "or infinity; the encoder is broken (a diverged training?) or encode.dtype "
                    "too narrow"
                )
            vectors[done : done + len(rows)] = rows
            vectors.flush()
            ids_file.writelines(f"{passage_id}\n".encode() for passage_id in ids)
            ids_file.flush()
            done += len(rows)
            write_json(work / PROGRESS, {"rows": done, "bytes": ids_file.tell()})


def _tokenized_windows(
    embedder: Embedder, corpus: Corpus, size: int, done: int
) -> Iterator[tuple[list[str], list[Tokens]]]:
    """(ids, tokens) of each window from row `done` on, read one window ahead in a thread."""
    texts = itertools.islice(corpus.texts(), done, None)

    def next_window() -> tuple[list[str], list[Tokens]]:
        window = list(itertools.islice(texts, size))
        tokens = embedder.tokenizer.tokenize([text for _, text in window], "passage")
        return [passage_id for passage_id, _ in window], tokens

    with ThreadPoolExecutor(1) as thread:
        ahead = thread.submit(next_window)
        while (window := ahead.result())[0]:
            ahead = thread.submit(next_window)
            yield window
