"""How long the texts are in tokens, and which share is truncated."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from dpr.encoders.spec import Role
from dpr.encoders.tokens import Tokenizer

MANY = 0.05  # share of truncated texts that is worth a word
SAMPLE = 100_000  # passages measured at most
BLOCK = 1_000  # texts in memory at a time
Item = TypeVar("Item")


def token_lengths(tokenizer: Tokenizer, texts: Iterable[str], role: Role) -> np.ndarray:
    """(N,) int64: tokens of each text, without a prompt, before anything is truncated."""
    lengths: list[int] = []
    texts = iter(texts)
    while block := list(itertools.islice(texts, BLOCK)):
        lengths += tokenizer.count(block, role)
    return np.array(lengths, dtype=np.int64)


def statistics(lengths: np.ndarray, limit: int) -> dict[str, Any]:
    """Count, mean, quantiles, and the share of texts longer than `limit` tokens."""
    quantiles = {f"p{q}": float(np.percentile(lengths, q)) for q in (10, 50, 90, 99)}
    return {
        "count": len(lengths),
        "mean": round(float(lengths.mean()), 2),
        **quantiles,
        "max": int(lengths.max()),
        "limit": limit,
        "truncated": round(float((lengths > limit).mean()), 4),
    }


def told(measured: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each of `measured`, such as train_queries, with more than a few % truncated."""
    many = {of: found for of, found in measured.items() if found["truncated"] > MANY}
    return [
        f"{of.replace('_', ' ')}: {found['truncated']:.1%} are truncated to {found['limit']} "
        "tokens; query_max_length and passage_max_length set how many"
        for of, found in many.items()
    ]


def spaced(items: Iterable[Item], count: int, sample: int = SAMPLE) -> Iterator[Item]:
    """At most `sample` of `count` items, evenly spaced."""
    step = -(-count // sample)
    return itertools.islice(items, 0, None, max(1, step))
