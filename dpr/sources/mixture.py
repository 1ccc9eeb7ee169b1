"""Several sources as one: each query keeps a single purpose, and each id its source.

Two queries are the same if their cleaned texts are equal once folded. Within one `id_space`, two
queries are also the same if they share an id and a relevant passage.
"""

import sys
from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from functools import partial
from typing import Literal, TypeVar

from dpr.base.errors import InputError
from dpr.records.types import Judgment, Pair, Passage, Query, Stream, folded, is_relevant
from dpr.sources.checked import clean
from dpr.sources.types import Collection, Records, Training

Row = TypeVar("Row", Judgment, Pair)
# Queries are the same if they share a key: a folded text, or (id_space, query id, passage id).
Key = str | tuple[str, str, str]
Topics = dict[str, set[Key]]  # {query id: its keys}


def separate(
    collection: Collection, trainings: list[Training], action: Literal["refuse", "drop"]
) -> tuple[Collection, list[Training], dict[str, int]]:
    """Give each query a single purpose: testing, validation or training, in this order.

    Validation queries choose a checkpoint or a fusion weight; no source trains on them. If
    `data.held_out` drew them, even "refuse" drops their duplicates in training.

    Returns: both without the dropped queries; the numbers of dropped queries.
    Raises:
        InputError: naming the first query with two purposes, if `action` is "refuse".
    """
    test, collection_valid = _topics(collection, "test"), _topics(collection, "valid")
    training_valid = [_topics(training, "valid") for training in trainings]
    collection_valid_drops = _shared(collection_valid, [test])
    training_valid_drops = [_shared(topics, [test]) for topics in training_valid]
    judged = [test, _kept(collection_valid, collection_valid_drops)]
    valid = list(map(_kept, training_valid, training_valid_drops))
    train_drops = [_trained_among(training, [*judged, *valid]) for training in trainings]
    if action == "refuse":
        what = "validation queries of the collection"
        _refuse("data.collection", what, collection_valid, collection_valid_drops)
        not_drawn = [_kept(v, t.held_out) for v, t in zip(valid, trainings, strict=True)]
        for n, topics in enumerate(train_drops):
            which = f" of source {n + 1}" if len(trainings) > 1 else ""
            what = f"validation queries{which}"
            _refuse("data.train", what, training_valid[n], training_valid_drops[n])
            shared = _shared(topics, [*judged, *not_drawn])
            _refuse("data.train", f"training queries{which}", topics, shared)
    separated = [
        replace(
            training,
            qrels={
                "train": _without(training.qrels["train"], topics.keys()),
                "valid": _without(training.qrels["valid"], valid_drops),
            },
            pairs=_without(training.pairs, topics.keys()),
        )
        for training, topics, valid_drops in zip(
            trainings, train_drops, training_valid_drops, strict=True
        )
    ]
    kept = _without(collection.qrels.get("valid", ()), collection_valid_drops)
    counts = {
        "validation_queries_of_the_collection": len(collection_valid_drops),
        "validation_queries": sum(map(len, training_valid_drops)),
        "training_queries": sum(map(len, train_drops)),
    }
    if any(counts.values()):
        dropped = ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in counts.items() if n)
        print(f"dropped, since they are also judged or validate: {dropped}", file=sys.stderr)
    collection = replace(collection, qrels={**collection.qrels, "valid": kept})
    return collection, separated, counts


def _topics(data: Records, split: str) -> Topics:
    topics: Topics = {}
    for query_id, passage_id, grade in data.qrels.get(split, ()):
        keys = topics.setdefault(query_id, set())
        if data.id_space is not None and is_relevant(grade):
            keys.add((data.id_space, query_id, passage_id))
    for query in data.queries:
        if query.id in topics:
            topics[query.id].add(folded(clean(query.text)))
    return topics


def _trained_among(training: Training, others: list[Topics]) -> Topics:
    """The training queries that are the same as one of the others; memory holds only these."""
    wanted, topics = _keys(others), Topics()
    if training.id_space is not None:
        for pair in training.pairs:
            if (key := (training.id_space, pair.query_id, pair.passage_id)) in wanted:
                topics.setdefault(pair.query_id, set()).add(key)
    for query in training.queries:
        if (text := folded(clean(query.text))) in wanted or query.id in topics:
            topics.setdefault(query.id, set()).add(text)
    trained = {pair.query_id for pair in training.pairs if pair.query_id in topics}
    return {query_id: topics[query_id] for query_id in trained}


def _keys(topics: Iterable[Topics]) -> set[Key]:
    return {key for part in topics for keys in part.values() for key in keys}


def _shared(topics: Topics, others: list[Topics]) -> set[str]:
    """The ids of the topics that are the same as one of the others."""
    known = _keys(others)
    return {query_id for query_id, keys in topics.items() if not keys.isdisjoint(known)}


def _kept(topics: Topics, dropped: Set[str]) -> Topics:
    return {query_id: keys for query_id, keys in topics.items() if query_id not in dropped}


def _without(rows: Iterable[Row], dropped: Set[str]) -> Iterable[Row]:
    return Stream(lambda: (row for row in rows if row.query_id not in dropped))


def _refuse(key: str, what: str, topics: Topics, shared: set[str]) -> None:
    if shared:
        first = min(shared)
        text = next((key for key in topics[first] if isinstance(key, str)), "")
        raise InputError(
            f"params.yaml: {key}: {len(shared)} {what} are also judged or validate, for example "
            f"{first!r} ({text!r}). Measures on them would not be those of unseen queries: use "
            "different data, or set data.overlap to drop to leave them out of training"
        )


def mix(names: list[str], trainings: list[Training]) -> Training:
    """The pairs and the validation topics of all sources; each query has its source's number.

    The ids of the second source become `2-ID`, and so on, since two sources may use the same ids.
    The validation pool has passages of every source: compare mixtures on the searched collection,
    not by their validation scores.

    Raises:
        InputError: naming the first source without pairs.
    """
    for name, training in zip(names, trainings, strict=True):
        if next(iter(training.pairs), None) is None:
            raise InputError(f"params.yaml: data.train: {name}: no training pairs; remove it")
    if len(trainings) == 1:
        return trainings[0]
    parts = [(f"{n}-" if n > 1 else "", n, part) for n, part in enumerate(trainings, start=1)]

    def passages() -> Iterator[Passage]:
        for prefix, _, part in parts:
            for passage in part.passages:
                yield passage._replace(id=prefix + passage.id)

    def queries() -> Iterator[Query]:
        for prefix, number, part in parts:
            for query in part.queries:
                yield query._replace(id=prefix + query.id, mixture_source=number)

    def judgments(split: str) -> Iterator[Judgment]:
        for prefix, _, part in parts:
            for query_id, passage_id, grade in part.qrels[split]:
                yield Judgment(prefix + query_id, prefix + passage_id, grade)

    def pairs() -> Iterator[Pair]:
        for prefix, _, part in parts:
            for query_id, passage_id, negatives in part.pairs:
                ids = tuple(prefix + negative for negative in negatives)
                yield Pair(prefix + query_id, prefix + passage_id, ids)

    return Training(
        passages=Stream(passages),
        queries=Stream(queries),
        qrels={split: Stream(partial(judgments, split)) for split in ("train", "valid")},
        pairs=Stream(pairs),
        description={"mixture": [part.description for part in trainings]},
    )
