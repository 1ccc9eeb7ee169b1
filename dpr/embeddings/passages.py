"""Encoding a corpus: memory is bounded by a window of passages, and a killed run resumes."""

import itertools
import shutil
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from dpr.base import resume
from dpr.base.errors import InputError
from dpr.base.files import fingerprint, read_json, sha256, write_json
from dpr.embeddings.artifact import IDS, MANIFEST, VECTORS, write_ids
from dpr.encoders.dual_encoder import DualEncoder
from dpr.records.corpus import Corpus
from dpr.settings import EncodeSettings

PROGRESS = "progress.json"  # rows done; beside the vectors until the run is complete


def encode_passages(
    encoder: DualEncoder,
    encoder_folder: Path,
    corpus: Corpus,
    options: EncodeSettings,
    folder: Path,
    scratch: Path,
) -> None:
    """Encode a corpus into the embeddings artifact `folder`.

    A killed run leaves its complete windows in a subfolder of `scratch`, named by a key. The next
    run with the same inputs resumes there and ends with the same bytes.

    Raises:
        InputError: for an empty corpus, or a vector that is not finite.
    """
    next(corpus.texts())  # a corpus that is missing or empty is an error before anything is made
    encoder_hash = fingerprint([encoder_folder])
    inputs = {
        "encoder": encoder_hash,
        "corpus": sha256(corpus.file),
        "separator": corpus.separator,
        "options": options.model_dump(),
    }
    work = scratch / resume.key(inputs, encoder.device)
    scratch.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{work}.lock"):  # another experiment may be encoding the same
        count = write_ids(work / IDS, (passage_id for passage_id, _ in corpus.texts()))
        _encode_windows(encoder, corpus, options, count, work)
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
    encoder: DualEncoder, corpus: Corpus, options: EncodeSettings, count: int, work: Path
) -> None:
    """Fill `work/vectors.npy`, and note after each window how many rows are done."""
    resumable = (work / PROGRESS).exists() and (work / VECTORS).exists()
    done = read_json(work / PROGRESS)["rows"] if resumable else 0
    vectors = np.lib.format.open_memmap(
        work / VECTORS,
        mode="r+" if done else "w+",
        dtype=options.dtype,
        shape=(count, encoder.dimension),
    )
    texts = itertools.islice(corpus.texts(), done, None)
    with tqdm(total=count, initial=done, unit=" passages", disable=None) as bar:
        while window := list(itertools.islice(texts, options.window)):
            rows = encoder.embed(
                encoder.tokenize([text for _, text in window], "passage"),
                "passage",
                options.batch_tokens,
                options.precision,
                bar.update,
            )
            rows = rows.astype(options.dtype)
            finite = np.isfinite(rows).all(axis=1)
            if not finite.all():
                passage_id, _ = window[int(finite.argmin())]
                raise InputError(
                    f"{corpus.file}: passage {passage_id!r} has a vector with NaN or infinity; "
                    "the encoder is broken (a diverged training?) or encode.dtype too narrow"
                )
            vectors[done : done + len(rows)] = rows
            vectors.flush()
            done += len(rows)
            write_json(work / PROGRESS, {"rows": done})
