"""Topics as vectors."""

from pathlib import Path

import numpy as np

from dpr.encoders.embedder import Embedder
from dpr.records import beir


def embed_topics(embedder: Embedder, folder: Path | str, query_ids: list[str]) -> np.ndarray:
    """(Q, D) float32 vectors of the topics with these ids, from a folder in BEIR layout."""
    queries = beir.read_queries(folder)
    return embedder.embed_texts([queries[query_id].text for query_id in query_ids], "query")
