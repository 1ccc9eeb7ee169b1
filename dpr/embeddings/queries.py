"""Topics as vectors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dpr.base.errors import InputError
from dpr.encoders.embedder import Embedder
from dpr.records import beir


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
