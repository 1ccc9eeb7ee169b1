"""The lengths of texts in tokens, and the share that is truncated."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from dpr.encoders.spec import Role
from dpr.encoders.tokens import Tokenizer
from dpr.records.types import Item

MANY = 0.05  # share of truncated texts that deserves a message
SAMPLE = 100_000  # measured passages, at most
BLOCK = 1_000  # texts in memory at a time


def token_lengths(tokenizer: Tokenizer, texts: Iterable[str], role: Role) -> np.ndarray:
    """(N,) int64: the tokens of each text, without a prompt and without truncation."""
    lengths: list[int] = []
    texts = iter(texts)
    while block := list(itertools.islice(texts, BLOCK)):
        lengths += tokenizer.count(block, role)
    return np.array(lengths, dtype=np.int64)


def statistics(lengths: np.ndarray, limit: int | None) -> dict[str, Any]:
    """Count, mean, quantiles, and the share of texts longer than `limit` tokens."""
    quantiles = {f"p{q}": float(np.percentile(lengths, q)) for q in (10, 50, 90, 99)}
    return {
        "count": len(lengths),
        "mean": round(float(lengths.mean()), 2),
        **quantiles,
        "max": int(lengths.max()),
        "limit": limit,
        "truncated": round(float((lengths > limit).mean()), 4) if limit else 0.0,
    }


def warnings(measured: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each kind of text, such as train_queries, with more than 5 % truncated."""
    return [
        f"{kind.replace('_', ' ')}: {lengths['truncated']:.1%} are truncated to "
        f"{lengths['limit']} tokens; query_max_length and passage_max_length set the limits"
        for kind, lengths in measured.items()
        if lengths["truncated"] > MANY
    ]


def spaced(items: Iterable[Item], count: int, sample: int = SAMPLE) -> Iterator[Item]:
    """At most `sample` of `count` items, evenly spaced."""
    step = -(-count // sample)
    return itertools.islice(items, 0, None, max(1, step))
