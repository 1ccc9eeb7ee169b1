"""Training pairs, tokenized once, in batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from dpr.collections import beir
from dpr.collections.records import Pair
from dpr.encoder import DualEncoder, Tokens
from dpr.errors import InputError
from dpr.measures import Qrels
from dpr.settings import TrainSettings

GROUPS = {None: "pairs", "query": "queries", "passage": "passages"}  # what a batch is made of


@dataclass(frozen=True)
class Batch:
    """What one loss is computed over: each query and each passage of some pairs, once.

    `pairs[i]` is the row and the column of pair i among them; the passages that no pair names,
    hard negatives, come last. `relevant[q, p]`: passage p is relevant to query q.
    """

    query_ids: list[str]  # Q
    passage_ids: list[str]  # P
    pairs: torch.Tensor  # (B, 2) int64
    relevant: torch.Tensor  # (Q, P) bool

    @classmethod
    def of(cls, pairs: list[Pair], qrels: Qrels) -> "Batch":
        rows = {q: i for i, q in enumerate(dict.fromkeys(pair.query_id for pair in pairs))}
        positives = dict.fromkeys(pair.passage_id for pair in pairs)
        negatives = dict.fromkeys(p for pair in pairs for p in pair.negative_ids)
        columns = {p: i for i, p in enumerate(positives | negatives)}
        at = [(rows[pair.query_id], columns[pair.passage_id]) for pair in pairs]
        relevant = torch.zeros(len(rows), len(columns), dtype=torch.bool)
        relevant[tuple(zip(*at, strict=True))] = True
        for query_id, row in rows.items():
            grades = qrels.get(query_id, {})
            for passage_id in grades.keys() & columns.keys():
                relevant[row, columns[passage_id]] |= grades[passage_id] > 0
        return cls(list(rows), list(columns), torch.tensor(at), relevant)


@dataclass(frozen=True)
class PairSet:
    """Pairs with the token ids of each query and passage, and the judgments about them."""

    pairs: list[Pair]
    queries: dict[str, Tokens]
    passages: dict[str, Tokens]
    qrels: Qrels
    settings: TrainSettings

    @classmethod
    def read(
        cls,
        folder: Path,
        pairs: list[Pair],
        encoder: DualEncoder,
        separator: str,
        settings: TrainSettings,
    ) -> "PairSet":
        """Some pairs of a training folder, with its texts and judgments.

        Texts that are the same tokens to the encoder are one, with the judgments of all: were they
        two, one could be the other's negative.

        Raises:
            InputError: for a pair of an unknown query or passage.
        """
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
                    f"{folder}: training pair {number}: query {pair.query_id!r} or one of the "
                    f"passages {sorted(named)} is not in the folder; run prepare again"
                )
        limit = settings.passage_max_length
        query_tokens = encoder.tokenize(list(queries.values()), "query")
        passage_tokens = encoder.tokenize(list(passages.values()), "passage", limit)
        first_query, first_passage = (
            _firsts(queries, query_tokens),
            _firsts(passages, passage_tokens),
        )
        qrels: Qrels = {}
        for query_id, grades in beir.read_qrels(folder, "train").items():
            merged = qrels.setdefault(first_query.get(query_id, query_id), {})
            for passage_id, grade in grades.items():
                first = first_passage.get(passage_id, passage_id)
                merged[first] = max(grade, merged.get(first, grade))
        pairs = [
            Pair(first_query[q], first_passage[p], tuple(first_passage[n] for n in negatives))
            for q, p, negatives in pairs
        ]
        return cls(
            pairs,
            dict(zip(queries, query_tokens, strict=True)),
            dict(zip(passages, passage_tokens, strict=True)),
            qrels,
            settings,
        )

    @property
    def steps_per_epoch(self) -> int:
        """Batches that an epoch fills.

        Raises:
            InputError: when it fills none.
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

        A batch has `batch_size` pairs or, with `group_by`, as many queries or passages, each with
        up to `pairs_per_group` of its pairs, drawn anew each time. So every query counts alike,
        however many passages it has; or what a passage costs to encode trains several queries.
        `hard_negatives` of each pair's negatives are drawn to go with it.

        The short batch at the end of an epoch is dropped: with fewer negatives its loss is of
        another scale.
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
                yield Batch.of([self._with_negatives(pair, rng) for pair in chosen], self.qrels)

    def _with_negatives(self, pair: Pair, rng: np.random.Generator) -> Pair:
        drawn = _draw(pair.negative_ids, self.settings.hard_negatives, rng)
        return pair._replace(negative_ids=tuple(drawn))

    @cached_property
    def _groups(self) -> list[list[int]]:
        """Positions of the pairs that are drawn together."""
        by = self.settings.group_by
        if by is None:
            return [[i] for i in range(len(self.pairs))]
        groups: dict[str, list[int]] = {}
        for i, pair in enumerate(self.pairs):
            groups.setdefault(pair.query_id if by == "query" else pair.passage_id, []).append(i)
        return list(groups.values())


def _draw(items, count: int, rng: np.random.Generator) -> list:
    """`count` of the items, all where there are no more, in their order."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in sorted(rng.choice(len(items), count, replace=False))]


def _firsts(ids: Iterable[str], tokens: list[Tokens]) -> dict[str, str]:
    """For each text the first one of the same tokens."""
    first: dict[bytes, str] = {}
    return {i: first.setdefault(own.tobytes(), i) for i, own in zip(ids, tokens, strict=True)}
