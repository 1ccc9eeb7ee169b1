"""Queries as vectors."""

import numpy as np

from dpr.encoder import DualEncoder
from dpr.settings import EncodeSettings


def embed_queries(encoder: DualEncoder, texts: list[str], options: EncodeSettings) -> np.ndarray:
    """(Q, D) float32 vectors of the queries, as the passages were encoded."""
    tokens = encoder.tokenize(texts, "query")
    return encoder.embed(tokens, "query", options.batch_tokens, options.precision)
