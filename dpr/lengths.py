"""How long the texts are in tokens, and how many are cut: silent truncation made visible."""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

SAMPLE = 100_000  # texts measured at most; evenly spaced over more
BLOCK = 1_000


def token_lengths(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> np.ndarray:
    """(N,) tokens of each text, [CLS] and [SEP] counted, nothing cut."""
    lengths: list[int] = []
    texts = iter(texts)
    while block := list(itertools.islice(texts, BLOCK)):
        encoded = tokenizer(block, return_attention_mask=False, verbose=False)
        lengths += map(len, encoded["input_ids"])
    return np.array(lengths, dtype=np.int64)


def statistics(lengths: np.ndarray, limit: int) -> dict[str, Any]:
    """Count, mean, quantiles, and the share of texts longer than `limit`."""
    quantiles = {f"p{q}": float(np.percentile(lengths, q)) for q in (10, 50, 90, 99)}
    return {
        "count": len(lengths),
        "mean": round(float(lengths.mean()), 2),
        **quantiles,
        "max": int(lengths.max()),
        "limit": limit,
        "truncated": round(float((lengths > limit).mean()), 4),
    }


def spaced(items: Iterable[Any], count: int, sample: int = SAMPLE) -> Iterable[Any]:
    """At most `sample` of `count` items, evenly spaced."""
    step = -(-count // sample)
    return itertools.islice(items, 0, None, max(1, step))
