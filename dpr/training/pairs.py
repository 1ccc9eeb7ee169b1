"""Training pairs, tokenized once, in batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from dpr.collections import beir
from dpr.collections.records import Pair
from dpr.encoder import DualEncoder, Tokens
from dpr.errors import InputError
from dpr.measures import Qrels
from dpr.settings import TrainSettings

GROUPS = {None: "pairs", "query": "queries", "passage": "passages"}  # what a batch is made of


class Same(NamedTuple):
    """For the id of a query, and of a passage, the first id of the same tokens.

    Texts that the encoder cannot tell apart must not be negatives of each other's queries.
    """

    queries: dict[str, str]
    passages: dict[str, str]

    def query(self, query_id: str) -> str:
        return self.queries.get(query_id, query_id)

    def passage(self, passage_id: str) -> str:
        return self.passages.get(passage_id, passage_id)

    def merged(self, qrels: Qrels) -> Qrels:
        """Judgments under the first ids, the best grade where several meet."""
        found: Qrels = {}
        for query_id, grades in qrels.items():
            of_query = found.setdefault(self.query(query_id), {})
            for passage_id, grade in grades.items():
                first = self.passage(passage_id)
                of_query[first] = max(grade, of_query.get(first, grade))
        return found


NONE_THE_SAME = Same({}, {})


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
    def of(cls, pairs: list[Pair], qrels: Qrels, same: Same = NONE_THE_SAME) -> "Batch":
        """A batch of these pairs; what is relevant to a query is so to all of the same text."""
        rows = {q: i for i, q in enumerate(dict.fromkeys(pair.query_id for pair in pairs))}
        positives = dict.fromkeys(pair.passage_id for pair in pairs)
        negatives = dict.fromkeys(p for pair in pairs for p in pair.negative_ids)
        columns = {p: i for i, p in enumerate(positives | negatives)}
        at = [(rows[pair.query_id], columns[pair.passage_id]) for pair in pairs]
        known: dict[str, set[str]] = {}
        for pair in pairs:
            known.setdefault(same.query(pair.query_id), set()).add(same.passage(pair.passage_id))
        columns_of: dict[str, list[int]] = {}
        for passage_id, column in columns.items():
            columns_of.setdefault(same.passage(passage_id), []).append(column)
        relevant = torch.zeros(len(rows), len(columns), dtype=torch.bool)
        for query_id, row in rows.items():
            grades = qrels.get(same.query(query_id), {})
            judged = {p for p in grades.keys() & columns_of.keys() if grades[p] > 0}
            for passage_id in judged | known[same.query(query_id)]:
                relevant[row, columns_of[passage_id]] = True
        return cls(list(rows), list(columns), torch.tensor(at), relevant)


@dataclass(frozen=True)
class PairSet:
    """Pairs with the token ids of each query and passage, and the judgments about them.

    `qrels` have the ids that `same` gives.
    """

    pairs: list[Pair]
    queries: dict[str, Tokens]
    passages: dict[str, Tokens]
    qrels: Qrels
    same: Same
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
        same = Same(_repeated(queries, query_tokens), _repeated(passages, passage_tokens))
        return cls(
            pairs,
            dict(zip(queries, query_tokens, strict=True)),
            dict(zip(passages, passage_tokens, strict=True)),
            same.merged(beir.read_qrels(folder, "train")),
            same,
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
                with_negatives = [self._with_negatives(pair, rng) for pair in chosen]
                yield Batch.of(with_negatives, self.qrels, self.same)

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


def _repeated(ids: Iterable[str], tokens: list[Tokens]) -> dict[str, str]:
    """For each text whose tokens came before the id that they came with."""
    first: dict[bytes, str] = {}
    found = {i: first.setdefault(own.tobytes(), i) for i, own in zip(ids, tokens, strict=True)}
    return {own: before for own, before in found.items() if own != before}
