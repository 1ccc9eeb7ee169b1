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
from dpr.settings import TrainSettings


@dataclass(frozen=True)
class Batch:
    """B queries; their B positives, then hard negatives: P passages in all.

    `not_negative[i, j]`: passage j is relevant to query i.
    """

    queries: list[Tokens]
    passages: list[Tokens]
    not_negative: torch.Tensor  # (B, P) bool


@dataclass(frozen=True)
class PairSet:
    """Pairs with the token ids of each query and passage, and the judgments about them."""

    pairs: list[Pair]
    queries: dict[str, Tokens]
    passages: dict[str, Tokens]
    qrels: Qrels

    @classmethod
    def read(
        cls, folder: Path, encoder: DualEncoder, separator: str, settings: TrainSettings
    ) -> "PairSet":
        """The training pairs of a folder, with their negatives where `hard_negatives` asks for it.

        Raises:
            InputError: for a pair of an unknown query or passage.
        """
        pairs = beir.read_pairs(folder)
        if not settings.hard_negatives:
            pairs = [pair._replace(negative_ids=()) for pair in pairs]
        query_ids = {pair.query_id for pair in pairs}
        passage_ids = {p for pair in pairs for p in (pair.passage_id, *pair.negative_ids)}
        queries = {
            query.id: query.text
            for query in beir.read_queries(folder).values()
            if query.id in query_ids
        }
        passages = {
            passage.id: passage.contents(separator)
            for passage in beir.read_corpus(folder)
            if passage.id in passage_ids
        }
        for number, pair in enumerate(pairs, start=1):
            named = {pair.passage_id, *pair.negative_ids}
            if pair.query_id not in queries or not named <= passages.keys():
                raise InputError(
                    f"{folder}/pairs.jsonl:{number}: query {pair.query_id!r} or one of the "
                    f"passages {sorted(named)} is not in the folder; run prepare again"
                )
        return cls(
            pairs,
            _tokenize(encoder, queries, "query", None),
            _tokenize(encoder, passages, "passage", settings.passage_max_length),
            beir.read_qrels(folder, "train"),
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
        query_ids = [pair.query_id for pair in pairs]
        passage_ids = [pair.passage_id for pair in pairs]
        passage_ids += [negative for pair in pairs for negative in pair.negative_ids]
        return Batch(
            [self.queries[query_id] for query_id in query_ids],
            [self.passages[passage_id] for passage_id in passage_ids],
            not_negative(query_ids, passage_ids, self.qrels),
        )


def not_negative(query_ids: list[str], passage_ids: list[str], qrels: Qrels) -> torch.Tensor:
    """(B, P) bool: whether passage j is judged relevant to query i, or is its own positive."""
    return torch.tensor(
        [
            [
                passage_id == own or qrels.get(query_id, {}).get(passage_id, 0) > 0
                for passage_id in passage_ids
            ]
            for query_id, own in zip(query_ids, passage_ids, strict=False)
        ]
    )


def _tokenize(
    encoder: DualEncoder, texts: dict[str, str], role: Role, max_length: int | None
) -> dict[str, Tokens]:
    tokens = encoder.tokenize(list(texts.values()), role, max_length)
    return dict(zip(texts, tokens, strict=True))
