"""Training pairs, tokenized once, and the batches that are drawn from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from dpr.base.errors import InputError
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.tokens import Tokens
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Pair, Qrels
from dpr.settings import TrainSettings
from dpr.training.batch import Batch, targets_of, with_own_passages
from dpr.training.duplicates import Duplicates, find_duplicates

GROUPS = {None: "pairs", "query": "queries", "passage": "passages"}  # group_by -> its plural
Item = TypeVar("Item")


@dataclass(frozen=True)
class PairSet:
    """Pairs with the tokens of their queries and passages, and the judgments about them.

    `qrels` are those that `duplicates.merge` returns.
    """

    pairs: list[Pair]
    queries: dict[str, Tokens]
    passages: dict[str, Tokens]
    qrels: Qrels
    duplicates: Duplicates
    settings: TrainSettings

    @classmethod
    def read(
        cls, corpus: Corpus, pairs: list[Pair], encoder: DualEncoder, settings: TrainSettings
    ) -> "PairSet":
        """Pairs with the texts and judgments of a training folder.

        Raises:
            InputError: for a pair of an unknown query or passage.
        """
        if not settings.hard_negatives:
            pairs = [pair._replace(negative_ids=()) for pair in pairs]
        query_ids = {pair.query_id for pair in pairs}
        passage_ids = {p for pair in pairs for p in (pair.passage_id, *pair.negative_ids)}
        known = beir.read_queries(corpus.folder)
        queries = {key: query.text for key, query in known.items() if key in query_ids}
        passages = {
            passage_id: text for passage_id, text in corpus.texts() if passage_id in passage_ids
        }
        for number, pair in enumerate(pairs, start=1):
            named = {pair.passage_id, *pair.negative_ids}
            if pair.query_id not in queries or not named <= passages.keys():
                raise InputError(
                    f"{corpus.folder}: training pair {number}: query {pair.query_id!r} or one of "
                    f"the passages {sorted(named)} is not in the folder; run prepare again"
                )
        limit = settings.passage_max_length
        query_tokens = encoder.tokenize(list(queries.values()), "query")
        passage_tokens = encoder.tokenize(list(passages.values()), "passage", limit)
        duplicates = Duplicates(
            find_duplicates(queries, query_tokens), find_duplicates(passages, passage_tokens)
        )
        qrels = with_own_passages(beir.read_qrels(corpus.folder, "train"), known.values())
        return cls(
            pairs,
            dict(zip(queries, query_tokens, strict=True)),
            dict(zip(passages, passage_tokens, strict=True)),
            duplicates.merge(qrels),
            duplicates,
            settings,
        )

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch.

        Raises:
            InputError: if there is none.
        """
        count = len(self._groups) // self.settings.batch_size
        if not count:
            raise InputError(
                f"params.yaml: train.batch_size is {self.settings.batch_size}, but there are only "
                f"{len(self._groups)} training {GROUPS[self.settings.group_by]}"
            )
        return count

    def batches(self, seed: int) -> Iterator[Batch]:
        """Batches without end, each epoch in a new order.

        A batch has `batch_size` pairs, or queries or passages if `group_by` says so, each with up
        to `pairs_per_group` of its pairs, drawn anew each time. By query, each query has the same
        weight; by passage, one encoded passage trains several queries. Of each pair's negatives,
        `hard_negatives` are drawn.

        The short batch at the end of an epoch is dropped: with fewer negatives its loss would be
        lower.
        """
        groups, size, rng = self._groups, self.settings.batch_size, np.random.default_rng(seed)
        starts = range(0, self.steps_per_epoch * size, size)
        while True:
            order = rng.permutation(len(groups))
            for start in starts:
                chosen = [
                    self.pairs[i]
                    for group in order[start : start + size]
                    for i in _draw(groups[group], self.settings.pairs_per_group, rng)
                ]
                yield self._batch([self._with_negatives(pair, rng) for pair in chosen])

    def _with_negatives(self, pair: Pair, rng: np.random.Generator) -> Pair:
        drawn = _draw(pair.negative_ids, self.settings.hard_negatives, rng)
        return pair._replace(negative_ids=tuple(drawn))

    def _batch(self, pairs: list[Pair]) -> Batch:
        targets = targets_of(pairs, self.qrels, self.duplicates)
        return Batch(
            [self.queries[query_id] for query_id in targets.query_ids],
            [self.passages[passage_id] for passage_id in targets.passage_ids],
            targets,
        )

    @cached_property
    def _groups(self) -> list[list[int]]:
        """Positions of the pairs of each group."""
        by = self.settings.group_by
        if by is None:
            return [[i] for i in range(len(self.pairs))]
        groups: dict[str, list[int]] = {}
        for i, pair in enumerate(self.pairs):
            groups.setdefault(pair.query_id if by == "query" else pair.passage_id, []).append(i)
        return list(groups.values())


def _draw(items: Sequence[Item], count: int, rng: np.random.Generator) -> list[Item]:
    """`count` of the items (all, if there are no more), in their order."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in sorted(rng.choice(len(items), count, replace=False))]
