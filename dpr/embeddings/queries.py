"""Queries as vectors."""

from pathlib import Path

import numpy as np

from dpr.encoders.dual_encoder import DualEncoder
from dpr.records import beir
from dpr.settings import EncodeSettings


def embed_queries(encoder: DualEncoder, texts: list[str], options: EncodeSettings) -> np.ndarray:
    """(Q, D) float32 vectors, with precision and batch size as for passages."""
    tokens = encoder.tokenize(texts, "query")
    return encoder.embed(tokens, "query", options.batch_tokens, options.precision)


def embed_topics(
    encoder: DualEncoder, folder: Path | str, query_ids: list[str], options: EncodeSettings
) -> np.ndarray:
    """(Q, D) float32 vectors of the topics with these ids, from a folder in BEIR layout."""
    queries = beir.read_queries(folder)
    return embed_queries(encoder, [queries[query_id].text for query_id in query_ids], options)
