"""Encoding a corpus: memory bounded by a window of passages, resumable window by window."""

import itertools
import shutil
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from dpr.collections import beir
from dpr.embeddings import IDS, MANIFEST, VECTORS, write_ids
from dpr.encoder import DualEncoder
from dpr.errors import InputError
from dpr.files import read_json, sha256, write_json
from dpr.scratch import fingerprint, key
from dpr.settings import EncodeSettings

PROGRESS = "progress.json"  # rows done; it lies beside the vectors of an unfinished run


def encode_corpus(
    encoder: DualEncoder,
    encoder_folder: Path,
    collection: Path,
    separator: str,
    options: EncodeSettings,
    folder: Path,
    scratch: Path,
) -> None:
    """Encode the corpus of a BEIR folder into the embeddings artifact `folder`.

    A run that is killed leaves its finished windows in `scratch`, under a name made of everything
    that decides the vectors; the next run of the same inputs goes on from there and ends with the
    same bytes.

    Raises:
        InputError: for an empty corpus, or a vector that is not finite.
    """
    count = sum(1 for _ in beir.read_corpus(collection))
    encoder_hash = fingerprint([encoder_folder])
    inputs = {
        "encoder": encoder_hash,
        "corpus": sha256(collection / "corpus.jsonl"),
        "separator": separator,
        "options": options.model_dump(),
    }
    work = scratch / key(inputs, encoder.device)
    scratch.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{work}.lock"):  # experiments side by side may want the same vectors
        _encode_windows(encoder, collection, separator, options, count, work)
        write_ids(work / IDS, (passage.id for passage in beir.read_corpus(collection)))
        manifest = {
            "count": count,
            "dimension": encoder.dimension,
            "dtype": options.dtype,
            "encoder": {"sha256": encoder_hash, **encoder.spec.as_dict()},
            "sha256": sha256(work / VECTORS),
            "similarity": encoder.spec.similarity,
        }
        write_json(work / MANIFEST, manifest)
        (work / PROGRESS).unlink()
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(work, folder)


def _encode_windows(
    encoder: DualEncoder,
    collection: Path,
    separator: str,
    options: EncodeSettings,
    count: int,
    work: Path,
) -> None:
    """Fill `work/vectors.npy`, noting the rows done after each window."""
    resumable = (work / PROGRESS).exists() and (work / VECTORS).exists()
    done = read_json(work / PROGRESS)["rows"] if resumable else 0
    work.mkdir(parents=True, exist_ok=True)
    vectors = np.lib.format.open_memmap(
        work / VECTORS,
        mode="r+" if done else "w+",
        dtype=options.dtype,
        shape=(count, encoder.dimension),
    )
    passages = itertools.islice(beir.read_corpus(collection), done, None)
    with tqdm(total=count, initial=done, unit=" passages", disable=None) as bar:
        while window := list(itertools.islice(passages, options.window)):
            texts = [passage.contents(separator) for passage in window]
            rows = encoder.embed(
                encoder.tokenize(texts, "passage"),
                "passage",
                options.batch_tokens,
                options.precision,
                bar.update,
            )
            rows = rows.astype(options.dtype)
            finite = np.isfinite(rows).all(axis=1)
            if not finite.all():
                bad = window[int(finite.argmin())].id
                raise InputError(
                    f"{collection}/corpus.jsonl: passage {bad!r} has a vector with NaN or infinity;"
                    " the encoder is broken (a diverged training?) or encode.dtype too narrow"
                )
            vectors[done : done + len(rows)] = rows
            vectors.flush()
            done += len(rows)
            write_json(work / PROGRESS, {"rows": done})
