"""Training pairs, tokenized once, in batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dpr.collections import beir
from dpr.collections.records import Pair
from dpr.encoder import DualEncoder, Role, Tokens
from dpr.errors import InputError
from dpr.measures import Qrels


@dataclass(frozen=True)
class Batch:
    """B queries and their B positives. `not_negative[i, j]`: passage j is relevant to query i."""

    queries: list[Tokens]
    passages: list[Tokens]
    not_negative: torch.Tensor  # (B, B) bool


@dataclass(frozen=True)
class PairSet:
    """Pairs with the token ids of each query and passage, and the judgments about them."""

    pairs: list[Pair]
    queries: dict[str, Tokens]
    passages: dict[str, Tokens]
    qrels: Qrels

    @classmethod
    def read(
        cls, collection: Path, encoder: DualEncoder, separator: str, passage_max_length: int | None
    ) -> "PairSet":
        """The training pairs of a BEIR folder.

        Raises:
            InputError: for a pair of an unknown query or passage.
        """
        pairs = beir.read_pairs(collection)
        query_ids = {pair.query_id for pair in pairs}
        passage_ids = {pair.passage_id for pair in pairs}
        queries = {
            query.id: query.text
            for query in beir.read_queries(collection).values()
            if query.id in query_ids
        }
        passages = {
            passage.id: passage.contents(separator)
            for passage in beir.read_corpus(collection)
            if passage.id in passage_ids
        }
        for number, pair in enumerate(pairs, start=1):
            if pair.query_id not in queries or pair.passage_id not in passages:
                raise InputError(
                    f"{collection}/pairs.jsonl:{number}: query {pair.query_id!r} or passage "
                    f"{pair.passage_id!r} is not in the collection"
                )
        return cls(
            pairs,
            _tokenize(encoder, queries, "query", None),
            _tokenize(encoder, passages, "passage", passage_max_length),
            beir.read_qrels(collection, "train"),
        )

    def batches(self, batch_size: int, seed: int) -> Iterator[Batch]:
        """Batches without end, each epoch in a new order.

        The short batch at the end of an epoch is dropped: with fewer negatives its loss is of
        another scale.

        Raises:
            InputError: when there are fewer pairs than fill a batch.
        """
        if len(self.pairs) < batch_size:
            raise InputError(
                f"params.yaml: train.batch_size is {batch_size}, but there are only "
                f"{len(self.pairs)} training pairs"
            )
        rng = np.random.default_rng(seed)
        while True:
            order = rng.permutation(len(self.pairs))
            for start in range(0, len(order) - batch_size + 1, batch_size):
                yield self.batch([self.pairs[i] for i in order[start : start + batch_size]])

    def batch(self, pairs: list[Pair]) -> Batch:
        return Batch(
            [self.queries[pair.query_id] for pair in pairs],
            [self.passages[pair.passage_id] for pair in pairs],
            not_negative(pairs, self.qrels),
        )


def not_negative(pairs: list[Pair], qrels: Qrels) -> torch.Tensor:
    """(B, B) bool: whether passage j is judged relevant to query i, or is its own positive."""
    return torch.tensor(
        [
            [
                other.passage_id == pair.passage_id
                or qrels.get(pair.query_id, {}).get(other.passage_id, 0) > 0
                for other in pairs
            ]
            for pair in pairs
        ]
    )


def _tokenize(
    encoder: DualEncoder, texts: dict[str, str], role: Role, max_length: int | None
) -> dict[str, Tokens]:
    tokens = encoder.tokenize(list(texts.values()), role, max_length)
    return dict(zip(texts, tokens, strict=True))
