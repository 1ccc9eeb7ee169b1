"""Queries that are trained on and judged: refused, or left out of the training.

Two queries are one if their cleaned texts are equal but for case and white space or, where the ids
are those of the same place (`ids_of`), if they have the same id and a relevant passage in common.
The sources of a mixture are compared before their ids are changed.
"""

import sys
from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from typing import Literal, NamedTuple, TypeVar

from dpr.base.errors import InputError
from dpr.records.types import Judgment, Pair, folded, is_relevant
from dpr.sources.checked import clean
from dpr.sources.types import Collection, Stream, Training

Row = TypeVar("Row", Judgment, Pair)
Relevant = tuple[str, str, str]  # the place of the ids, query id, passage id


class Topics(NamedTuple):
    """The queries of one purpose: their folded texts, and what is relevant to them."""

    texts: dict[str, str]
    relevant: set[Relevant]  # empty if the ids are of no place

    def shared_with(self, *others: "Topics") -> set[str]:
        """The ids of these queries that are queries of another purpose too."""
        texts, relevant = _all_of(others)
        by_text = {query_id for query_id, text in self.texts.items() if text in texts}
        return by_text | {query_id for _, query_id, _ in self.relevant & relevant}

    def without(self, query_ids: Set[str]) -> "Topics":
        texts = {q: text for q, text in self.texts.items() if q not in query_ids}
        return Topics(texts, {row for row in self.relevant if row[1] not in query_ids})


def separate(
    collection: Collection, sources: list[Training], action: Literal["refuse", "drop"]
) -> tuple[Collection, list[Training], dict[str, int]]:
    """Collection and sources without a query that serves two purposes; and how many are dropped.

    A test query neither trains nor validates; a validation query, which chooses the checkpoint or
    the weight of a fusion, trains in no source. Validation queries that were held out of the
    training here may have duplicates there: these are dropped in any case.

    Raises:
        InputError: naming the first such query, if `action` is refuse.
    """
    test, fusing = _topics(collection, "test"), _topics(collection, "valid")
    validated = [_topics(source, "valid") for source in sources]
    drop_fusing = fusing.shared_with(test)
    drop_validating = [topics.shared_with(test) for topics in validated]
    judged = [test, fusing.without(drop_fusing)]
    validating = [t.without(ids) for t, ids in zip(validated, drop_validating, strict=True)]
    trained = [_trained_among(source, [*judged, *validating]) for source in sources]
    if action == "refuse":
        given = [t.without(source.held_out) for t, source in zip(validating, sources, strict=True)]
        wrong = [topics.shared_with(*judged, *given) for topics in trained]
        _refuse("data.collection", "validation queries of the collection", fusing, drop_fusing)
        for n in range(len(sources)):
            which = f" of source {n + 1}" if len(sources) > 1 else ""
            what = f"validation queries{which}"
            _refuse("data.train", what, validated[n], drop_validating[n])
            _refuse("data.train", f"training queries{which}", trained[n], wrong[n])
    drop_trained = [topics.texts.keys() for topics in trained]
    kept = list(map(_source_without, sources, drop_trained, drop_validating))
    qrels = {**collection.qrels, "valid": _without(collection.qrels.get("valid", ()), drop_fusing)}
    counts = {
        "validation_queries_of_the_collection": len(drop_fusing),
        "validation_queries": sum(map(len, drop_validating)),
        "training_queries": sum(map(len, drop_trained)),
    }
    if any(counts.values()):
        dropped = ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in counts.items() if n)
        print(f"dropped, since they are also judged, or validate: {dropped}", file=sys.stderr)
    return replace(collection, qrels=qrels), kept, counts


def _topics(data: Collection | Training, split: str) -> Topics:
    rows = list(data.qrels.get(split, ()))
    judged = {row.query_id for row in rows}
    texts = {query.id: folded(clean(query.text)) for query in data.queries if query.id in judged}
    return Topics(texts, set(_placed(data, (row for row in rows if is_relevant(row.grade)))))


def _placed(data: Collection | Training, rows: Iterable[Judgment | Pair]) -> Iterator[Relevant]:
    if data.ids_of is not None:
        yield from ((data.ids_of, row.query_id, row.passage_id) for row in rows)


def _trained_among(source: Training, others: list[Topics]) -> Topics:
    """The training queries that are also among the others; only these are held in memory."""
    texts, relevant = _all_of(others)
    rows = {row for row in _placed(source, source.pairs) if row in relevant}
    shared = {query_id for _, query_id, _ in rows}
    found = {
        query.id: text
        for query in source.queries
        if (text := folded(clean(query.text))) in texts or query.id in shared
    }
    asked = {query_id for query_id, _, _ in source.pairs if query_id in found}
    return Topics({q: text for q, text in found.items() if q in asked}, rows)


def _all_of(topics: Iterable[Topics]) -> tuple[set[str], set[Relevant]]:
    """All texts, and all that is relevant."""
    parts = list(topics)
    texts = {text for part in parts for text in part.texts.values()}
    return texts, {row for part in parts for row in part.relevant}


def _source_without(source: Training, trained: Set[str], validating: Set[str]) -> Training:
    qrels = {
        "train": _without(source.qrels["train"], trained),
        "valid": _without(source.qrels["valid"], validating),
    }
    return replace(source, qrels=qrels, pairs=_without(source.pairs, trained))


def _without(rows: Iterable[Row], query_ids: Set[str]) -> Iterable[Row]:
    return Stream(lambda: (row for row in rows if row.query_id not in query_ids))


def _refuse(key: str, what: str, topics: Topics, shared: set[str]) -> None:
    if shared:
        first = min(shared)
        raise InputError(
            f"params.yaml: {key}: {len(shared)} {what} are also judged, or validate: "
            f"{first!r} ({topics.texts.get(first, '')!r}) among them. Figures would not be those "
            "of unseen queries: take other data, or set data.overlap to drop to leave them out"
        )
