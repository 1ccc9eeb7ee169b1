"""The lengths of texts in tokens, and the share that is truncated."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from dpr.encoders.spec import Role
from dpr.encoders.tokens import Tokenizer
from dpr.records.types import Item

MANY = 0.05  # share of truncated texts that deserves a message
WORDS = 120  # of a passage: with its title, at most 256 tokens in most texts
SAMPLE = 100_000  # measured passages, at most
CURES = {
    "passages": "data.passages.words cuts documents into passages; "
    "model.passage_max_length is the limit",
    "queries": "model.query_max_length is the limit",
}
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


def truncated_texts(measured: dict[str, dict[str, Any]]) -> str | None:
    """One line if more than 5 % of some kind of text, such as train_queries, are truncated."""
    parts = []
    for role, cure in CURES.items():
        truncated = [
            f"{of['truncated']:.1%} of the {kind.replace('_', ' ')} at {of['limit']} tokens"
            for kind, of in measured.items()
            if kind.endswith(role) and of["truncated"] > MANY
        ]
        parts += [f"{', '.join(truncated)} ({cure})"] if truncated else []
    return f"TRUNCATED, the encoder does not see the rest: {'; '.join(parts)}" if parts else None


def spaced(items: Iterable[Item], count: int, sample: int = SAMPLE) -> Iterator[Item]:
    """At most `sample` of `count` items, evenly spaced."""
    step = -(-count // sample)
    return itertools.islice(items, 0, None, max(1, step))
