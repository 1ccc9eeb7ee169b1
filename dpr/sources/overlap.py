"""Queries that are trained on and judged: refused, or left out of the training.

Two queries are one if their cleaned texts are equal but for case and white space, or if they have
the same id and a relevant passage of the same id. (The same id alone says nothing across sources.)
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, NamedTuple

from dpr.base.errors import InputError
from dpr.records.text import folded
from dpr.records.types import Judgment, Query
from dpr.sources.clean import clean
from dpr.sources.types import Collection, Training


class Topics(NamedTuple):
    """The queries of one purpose: their folded texts, and what is relevant to them."""

    texts: dict[str, str]
    relevant: set[tuple[str, str]]  # (query id, passage id)

    def shared_with(self, *others: "Topics") -> set[str]:
        """The ids of these queries that are queries of another purpose too."""
        texts = {text for other in others for text in other.texts.values()}
        relevant = {row for other in others for row in other.relevant}
        by_text = {query_id for query_id, text in self.texts.items() if text in texts}
        return by_text | {query_id for query_id, _ in self.relevant & relevant}

    def without(self, query_ids: set[str]) -> "Topics":
        texts = {q: text for q, text in self.texts.items() if q not in query_ids}
        return Topics(texts, {row for row in self.relevant if row[0] not in query_ids})


def separate(
    collection: Collection, training: Training, action: Literal["refuse", "drop"]
) -> tuple[Collection, Training, dict[str, int]]:
    """Collection and training without a query that serves two purposes; and how many are dropped.

    A test query neither trains nor validates; a validation query, which chooses the checkpoint or
    the weight of a fusion, does not train. Validation queries that were held out of the training
    here may have duplicates there: these are dropped in any case.

    Raises:
        InputError: naming the first such query, if `action` is refuse.
    """
    collection = replace(
        collection,
        queries=list(collection.queries),
        qrels={split: list(rows) for split, rows in collection.qrels.items()},
    )
    training = replace(
        training,
        queries=list(training.queries),
        qrels={split: list(rows) for split, rows in training.qrels.items()},
        pairs=list(training.pairs),
    )
    test = _topics(collection.queries, collection.qrels["test"])
    fusing = _topics(collection.queries, collection.qrels.get("valid", ()))
    validated = _topics(training.queries, training.qrels["valid"])
    trained = _topics(training.queries, (Judgment(q, p, 1) for q, p, _ in training.pairs))
    drop_fusing, drop_validating = fusing.shared_with(test), validated.shared_with(test)
    judged = (test, fusing.without(drop_fusing))
    validating = validated.without(drop_validating)
    drop_trained = trained.shared_with(*judged, validating)
    if action == "refuse":
        wrong = trained.shared_with(*judged) if training.held_out else drop_trained
        _refuse("data.collection", "validation queries of the collection", fusing, drop_fusing)
        _refuse("data.train", "validation queries", validated, drop_validating)
        _refuse("data.train", "training queries", trained, wrong)
    collection = replace(collection, qrels=_kept(collection, "valid", drop_fusing))
    training = replace(
        training,
        qrels=_kept(training, "valid", drop_validating)
        | {"train": [j for j in training.qrels["train"] if j.query_id not in drop_trained]},
        pairs=[pair for pair in training.pairs if pair.query_id not in drop_trained],
    )
    counts = {
        "validation_queries_of_the_collection": len(drop_fusing),
        "validation_queries": len(drop_validating),
        "training_queries": len(drop_trained),
    }
    return collection, training, counts


def _topics(queries: Iterable[Query], judgments: Iterable[Judgment]) -> Topics:
    rows = list(judgments)
    judged = {row.query_id for row in rows}
    texts = {query.id: folded(clean(query.text)) for query in queries if query.id in judged}
    return Topics(texts, {(row.query_id, row.passage_id) for row in rows if row.grade > 0})


def _kept(
    data: Collection | Training, split: str, dropped: set[str]
) -> dict[str, Iterable[Judgment]]:
    rows = [row for row in data.qrels.get(split, ()) if row.query_id not in dropped]
    return {**data.qrels, split: rows}


def _refuse(key: str, what: str, topics: Topics, shared: set[str]) -> None:
    if shared:
        first = min(shared)
        raise InputError(
            f"params.yaml: {key}: {len(shared)} {what} are also judged, or validate: "
            f"{first!r} ({topics.texts.get(first, '')!r}) among them. Figures would not be those "
            "of unseen queries: take other data, or set data.overlap to drop to leave them out"
        )
