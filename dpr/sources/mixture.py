"""Several sources as one: each query keeps a single purpose, and each id its source.

Two queries are the same if their cleaned texts are equal once folded. They are also the same if
their ids come from the same place (`id_space`) and both have one id and share a relevant passage.
"""

import sys
from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from functools import partial
from typing import Literal, TypeVar

from dpr.base.errors import InputError
from dpr.records.types import Judgment, Pair, Passage, Query, folded, is_relevant
from dpr.sources.checked import clean
from dpr.sources.types import Collection, Records, Stream, Training

Row = TypeVar("Row", Judgment, Pair)
# Queries are the same if they share a key: a folded text, or (id_space, query id, passage id).
Key = str | tuple[str, str, str]
Topics = dict[str, set[Key]]  # {query id: its keys}


def separate(
    collection: Collection, sources: list[Training], action: Literal["refuse", "drop"]
) -> tuple[Collection, list[Training], dict[str, int]]:
    """Give each query a single purpose: testing, validation or training, in this order.

    Validation queries choose a checkpoint or a fusion weight; they train in no source. If the
    source itself held them out, their duplicates in training are dropped even by "refuse".

    Returns: collection and sources without the dropped queries; how many were dropped.
    Raises:
        InputError: naming the first query with two purposes, if `action` is "refuse".
    """
    test, fusing = _topics(collection, "test"), _topics(collection, "valid")
    validating = [_topics(source, "valid") for source in sources]
    drop_fusing = _shared(fusing, [test])
    drop_validating = [_shared(topics, [test]) for topics in validating]
    judged = [test, _rest(fusing, drop_fusing)]
    valid = list(map(_rest, validating, drop_validating))
    trained = [_trained_among(source, [*judged, *valid]) for source in sources]
    if action == "refuse":
        _refuse("data.collection", "validation queries of the collection", fusing, drop_fusing)
        given = [_rest(topics, s.held_out) for topics, s in zip(valid, sources, strict=True)]
        for n, topics in enumerate(trained):
            which = f" of source {n + 1}" if len(sources) > 1 else ""
            _refuse("data.train", f"validation queries{which}", validating[n], drop_validating[n])
            shared = _shared(topics, [*judged, *given])
            _refuse("data.train", f"training queries{which}", topics, shared)
    separated = [
        replace(
            source,
            qrels={
                "train": _without(source.qrels["train"], topics.keys()),
                "valid": _without(source.qrels["valid"], dropped),
            },
            pairs=_without(source.pairs, topics.keys()),
        )
        for source, topics, dropped in zip(sources, trained, drop_validating, strict=True)
    ]
    qrels = {**collection.qrels, "valid": _without(collection.qrels.get("valid", ()), drop_fusing)}
    counts = {
        "validation_queries_of_the_collection": len(drop_fusing),
        "validation_queries": sum(map(len, drop_validating)),
        "training_queries": sum(map(len, trained)),
    }
    if any(counts.values()):
        dropped = ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in counts.items() if n)
        print(f"dropped, since they are also judged or validate: {dropped}", file=sys.stderr)
    return replace(collection, qrels=qrels), separated, counts


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


def _trained_among(source: Training, others: list[Topics]) -> Topics:
    """The training queries that are also among the others; only these are held in memory."""
    wanted, topics = _keys(others), Topics()
    if source.id_space is not None:
        for pair in source.pairs:
            if (key := (source.id_space, pair.query_id, pair.passage_id)) in wanted:
                topics.setdefault(pair.query_id, set()).add(key)
    for query in source.queries:
        if (text := folded(clean(query.text))) in wanted or query.id in topics:
            topics.setdefault(query.id, set()).add(text)
    trained = {pair.query_id for pair in source.pairs if pair.query_id in topics}
    return {query_id: topics[query_id] for query_id in trained}


def _keys(topics: Iterable[Topics]) -> set[Key]:
    return {key for part in topics for keys in part.values() for key in keys}


def _shared(topics: Topics, others: list[Topics]) -> set[str]:
    """The ids of the topics that are also among the others."""
    known = _keys(others)
    return {query_id for query_id, keys in topics.items() if not keys.isdisjoint(known)}


def _rest(topics: Topics, query_ids: Set[str]) -> Topics:
    return {query_id: keys for query_id, keys in topics.items() if query_id not in query_ids}


def _without(rows: Iterable[Row], query_ids: Set[str]) -> Iterable[Row]:
    return Stream(lambda: (row for row in rows if row.query_id not in query_ids))


def _refuse(key: str, what: str, topics: Topics, shared: set[str]) -> None:
    if shared:
        first = min(shared)
        text = next((key for key in topics[first] if isinstance(key, str)), "")
        raise InputError(
            f"params.yaml: {key}: {len(shared)} {what} are also judged or validate, for example "
            f"{first!r} ({text!r}). Measures on them would not be those of unseen queries: use "
            "different data, or set data.overlap to drop to leave them out of training"
        )


def mix(names: list[str], sources: list[Training]) -> Training:
    """The pairs and the validation topics of all sources; each query has its source's number.

    The ids of the second source become `2-ID`, and so on, since two sources may use the same ids.
    The validation pool has passages of every source, so its scores cannot be compared between
    mixtures; compare on the searched collection.

    Raises:
        InputError: naming the first source without pairs.
    """
    for name, source in zip(names, sources, strict=True):
        if next(iter(source.pairs), None) is None:
            raise InputError(f"params.yaml: data.train: {name}: no training pairs; remove it")
    if len(sources) == 1:
        return sources[0]
    parts = [(f"{n}-" if n > 1 else "", n, source) for n, source in enumerate(sources, start=1)]

    def passages() -> Iterator[Passage]:
        for prefix, _, source in parts:
            for passage in source.passages:
                yield passage._replace(id=prefix + passage.id)

    def queries() -> Iterator[Query]:
        for prefix, number, source in parts:
            for query in source.queries:
                yield query._replace(id=prefix + query.id, mixture_source=number)

    def judgments(split: str) -> Iterator[Judgment]:
        for prefix, _, source in parts:
            for query_id, passage_id, grade in source.qrels[split]:
                yield Judgment(prefix + query_id, prefix + passage_id, grade)

    def pairs() -> Iterator[Pair]:
        for prefix, _, source in parts:
            for query_id, passage_id, negatives in source.pairs:
                ids = tuple(prefix + negative for negative in negatives)
                yield Pair(prefix + query_id, prefix + passage_id, ids)

    return Training(
        passages=Stream(passages),
        queries=Stream(queries),
        qrels={split: Stream(partial(judgments, split)) for split in ("train", "valid")},
        pairs=Stream(pairs),
        source={"mixture": [source.source for source in sources]},
    )
