"""Queries as vectors that compare with those of the passages: by their encoder, in their format."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from dpr.base.environment import started_first
from dpr.base.errors import InputError
from dpr.embeddings.artifact import MANIFEST, Embeddings
from dpr.encoders.embedder import Embedder
from dpr.encoders.formats import Format
from dpr.encoders.spec import passage_side
from dpr.records import beir
from dpr.settings import EncodeSettings


def require_made_by(encoder: Path, embeddings: Embeddings) -> None:
    """Raises InputError if the encoder in that folder would make other vectors of passages.

    One that differs only in its query encoder would not.
    """
    if embeddings.manifest["encoder"].get("sha256") != passage_side(encoder):
        raise InputError(
            f"{embeddings.folder}: made by another encoder than {encoder}; encode again (dvc repro)"
        )


def open_for_queries(
    embeddings: Embeddings,
    folder: Path,
    options: EncodeSettings,
    device: torch.device,
    threads: int,
    scratch: Path,
) -> Embedder:
    """The encoder in `folder`, in the number format of these embeddings.

    Where the device lacks that format (vectors from another machine), it is fp32, and a line says
    so.

    Raises:
        InputError: if another encoder made the embeddings, or in a format that nobody knows.
    """
    require_made_by(folder, embeddings)
    opened, made_in = (folder, options, device, threads, scratch), embeddings.manifest["format"]
    if made_in not in get_args(Format):
        raise InputError(f"{embeddings.folder / MANIFEST}: 'format' is damaged; encode again")
    try:
        return Embedder(*opened, precision=made_in)
    except InputError:  # raised again below, if it is not for want of the format
        embedder = Embedder(*opened, precision="fp32")
    if started_first():
        print(
            f"{embeddings.folder}: vectors in {made_in}, which this machine cannot compute here; "
            "queries are in fp32",
            file=sys.stderr,
        )
    return embedder


def embed_topics(embedder: Embedder, folder: Path | str, query_ids: list[str]) -> np.ndarray:
    """(Q, D) float32 vectors of the topics with these ids, from a folder in BEIR layout.

    Raises:
        InputError: as `require_finite`.
    """
    queries = beir.read_queries(folder)
    vectors = embedder.embed_texts([queries[query_id].text for query_id in query_ids], "query")
    require_finite(vectors, query_ids, embedder.folder)
    return vectors


def require_finite(vectors: np.ndarray, query_ids: Sequence[str], encoder: Path) -> None:
    """Raises InputError for a vector with NaN or infinity: its topic would find nothing."""
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{encoder}: gives query {query_ids[int(finite.argmin())]!r} a vector with NaN or "
            "infinity; the encoder is broken (a diverged training?): train again"
        )
