"""Cleaning of text, the same for every source.

Records on their way from a source to disk: cleaned, checked and counted as they stream past.

Invalid input is an error. Repairs, and oddities that are kept, are counted: docs/collections.md.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import ftfy

from dpr.base.errors import InputError
from dpr.base.progress import progress
from dpr.records.ids import IdSet
from dpr.records.types import Judgment, Pair, Passage, Query, is_relevant

_CONFIG = ftfy.TextFixerConfig(explain=False)


def clean(text: str | None) -> str:
    """Repair mojibake and other damage with ftfy; runs of white space become one space."""
    text = text or ""
    if not (text.isascii() and text.isprintable() and "&" not in text):
        text = ftfy.fix_text(text, _CONFIG)  # slow; it changes nothing in plain ASCII
    return " ".join(text.split())


def is_repaired(raw: str | None, cleaned: str) -> bool:
    """Whether cleaning changed more than white space."""
    return " ".join((raw or "").split()) != cleaned


LOUD = 0.2  # a larger share of what nothing can find is no oddity


class Passages:
    """Cleaned passages; `counts` and `ids` are complete after an iteration."""

    def __init__(self, passages: Iterable[Passage], name: str):
        self.passages, self.name = passages, name
        self.ids = IdSet()
        self.counts: dict[str, Any] = {"count": 0, "first": None, "last": None}
        self.counts |= {"empty": 0, "repaired": 0}

    def __iter__(self) -> Iterator[Passage]:
        counts = self.counts
        for passage in progress(self.passages, desc=self.name, unit="passages"):
            _check_id(passage.id, f"{self.name}: passage {counts['count'] + 1}")
            title, text = clean(passage.title), clean(passage.text)
            counts["count"] += 1
            counts["first"] = counts["first"] or passage.id
            counts["last"] = passage.id
            counts["empty"] += not (title or text)
            counts["repaired"] += is_repaired(passage.title, title) or is_repaired(
                passage.text, text
            )
            self.ids.add(passage.id)
            yield Passage(passage.id, title, text)


class Queries:
    """Cleaned queries; `counts` and `ids` are complete after an iteration.

    Args:
        drop_query_id: whether a query that has the id of a passage is that passage; None: refuse.
    """

    def __init__(
        self,
        queries: Iterable[Query],
        passage_ids: IdSet,
        drop_query_id: bool | None,
        name: str,
    ):
        self.queries, self.name = queries, name
        self.passage_ids, self.drop_query_id = passage_ids, drop_query_id
        self.ids = IdSet()
        self.counts = {"count": 0, "repaired": 0, "with_the_id_of_a_passage": 0}

    def __iter__(self) -> Iterator[Query]:
        for query in self.queries:
            self.counts["count"] += 1
            where = f"{self.name}: query {self.counts['count']}"
            _check_id(query.id, where)
            text = clean(query.text)
            if not text:
                raise InputError(f"{where} ({query.id!r}) has no text; remove it or give it one")
            self.counts["repaired"] += is_repaired(query.text, text)
            self.ids.add(query.id)
            yield query._replace(text=text, is_passage=self._is_passage(query.id))

    def _is_passage(self, query_id: str) -> bool:
        """Whether the passage of this id is the query; if there is one, that must be decided."""
        if query_id not in self.passage_ids:
            return False
        self.counts["with_the_id_of_a_passage"] += 1
        if self.drop_query_id is None:
            raise InputError(
                f"params.yaml: data.drop_query_id: {self.name}: query {query_id!r} has the id of a "
                "passage. If the queries are passages themselves, as in ArguAna, set it to true, "
                "so that a query does not find itself; if such ids are equal by chance, to false"
            )
        return self.drop_query_id


class Judgments:
    """Judgments, each once. Those of passages that the collection lacks stay, as in trec_eval."""

    def __init__(
        self, judgments: Iterable[Judgment], query_ids: IdSet, passage_ids: IdSet, name: str
    ):
        self.judgments, self.name = judgments, name
        self.query_ids, self.passage_ids = query_ids, passage_ids
        kinds = ("judgments", "relevant", "negative_grade", "unknown_passages", "repeated")
        self.counts = {**dict.fromkeys(kinds, 0), "queries": 0}
        self.missing: list[str] = []  # the first relevant passage that the collection lacks
        self.found = 0  # judgments of relevant passages that it has
        self.answerable = IdSet()  # the queries of these

    def __iter__(self) -> Iterator[Judgment]:
        twice = self._repeated()
        seen: dict[tuple[str, str], int] = {}  # grades of these alone, since all are many
        for judgment in self.judgments:
            query_id, passage_id, grade = judgment
            if query_id not in self.query_ids:
                raise InputError(
                    f"{self.name}: query {query_id!r} is judged but has no text; add it to the "
                    "queries or remove its judgments"
                )
            if len(twice) and _row(judgment) in twice:
                known = seen.get((query_id, passage_id))
                if known not in (None, grade):
                    raise InputError(
                        f"{self.name}: {passage_id!r} is judged twice for query {query_id!r}, "
                        "with two grades; keep one"
                    )
                if known is not None:
                    self.counts["repeated"] += 1
                    continue
                seen[query_id, passage_id] = grade
            self.counts["judgments"] += 1
            self.counts["relevant"] += is_relevant(grade)
            self.counts["negative_grade"] += grade < 0
            known = passage_id in self.passage_ids
            self.counts["unknown_passages"] += not known
            if grade > 0 and known:
                self.found += 1
                self.answerable.add(query_id)
            elif grade > 0 and not self.missing:
                self.missing.append(passage_id)
            yield judgment

    def what_is_lost(self, an_id: str) -> str | None:
        """What of the judgments no system can meet, in a line; None if all can be met.

        Args:
            an_id: of a passage of the collection.
        Raises:
            InputError: if there are judgments, and no system can meet any.
        """
        judged, relevant, topics = (self.counts[k] for k in ("judgments", "relevant", "queries"))
        if judged and not relevant:
            raise InputError(
                f"{self.name}: none of the {judged:,} judgments has a grade above 0, so that "
                "nothing is relevant; correct the grades"
            )
        if judged and not self.found:
            raise InputError(
                f"{self.name}: none of the {relevant:,} relevant passages is in the collection: "
                f"{self.missing[0]!r} is judged, {an_id!r} is there; give both the same ids"
            )
        lost, unanswerable = relevant - self.found, topics - self.answerable.distinct()
        if lost >= LOUD * relevant > 0 or unanswerable >= LOUD * topics > 0:
            return (
                f"{self.name}: {lost / relevant:.0%} of the relevant passages ({lost:,} of "
                f"{relevant:,}) are not in the collection, and {unanswerable:,} of {topics:,} "
                "topics have none there. No system can find them, so all measures are lower; is "
                "the corpus whole?"
            )
        if unknown := self.counts["unknown_passages"]:
            return (
                f"{self.name}: {unknown:,} judgments of passages that are not in the collection; "
                "they are kept, and cannot be found"
            )
        return None

    def _repeated(self) -> IdSet:
        """The judgments that come more than once, by `_row`."""
        rows, queries = IdSet(), IdSet()
        for judgment in self.judgments:
            rows.add(_row(judgment))
            queries.add(judgment.query_id)
        self.counts["queries"] = queries.distinct()
        return rows.duplicates()


class Pairs:
    """Training pairs; those that name a passage that is not there are left out."""

    def __init__(self, pairs: Iterable[Pair], query_ids: IdSet, passage_ids: IdSet, name: str):
        self.pairs, self.name = pairs, name
        self.query_ids, self.passage_ids = query_ids, passage_ids
        self.counts = {"count": 0, "with_negatives": 0, "of_unknown_passages": 0}

    def __iter__(self) -> Iterator[Pair]:
        for pair in self.pairs:
            if pair.query_id not in self.query_ids:
                raise InputError(
                    f"{self.name}: a training pair names query {pair.query_id!r}, which has no "
                    "text; add it to the queries or remove its judgments"
                )
            if not all(p in self.passage_ids for p in (pair.passage_id, *pair.negative_ids)):
                self.counts["of_unknown_passages"] += 1
                continue
            self.counts["count"] += 1
            self.counts["with_negatives"] += bool(pair.negative_ids)
            yield pair


def refuse_duplicates(ids: IdSet, in_order: Iterable[str], what: str) -> None:
    """Raises InputError naming the first id that comes twice, and where.

    Args:
        in_order: the ids again, in the order in which they are numbered in the error.
    """
    duplicates = ids.duplicates()
    if not len(duplicates):
        return
    numbers: dict[str, list[int]] = {}
    for number, identifier in enumerate(in_order, start=1):
        if identifier in duplicates:
            numbers.setdefault(identifier, []).append(number)
    for identifier, places in numbers.items():
        if len(places) > 1:  # else another id of the same hash
            raise InputError(
                f"{what} {places[0]} and {places[1]} have the same id {identifier!r}; "
                "ids must be unique"
            )


def _row(judgment: Judgment) -> str:
    return f"{judgment.query_id} {judgment.passage_id}"  # ids have no white space


def _check_id(identifier: str, where: str) -> None:
    if not identifier or identifier.split() != [identifier] or not identifier.isprintable():
        raise InputError(
            f"{where}: {identifier!r} is no id: a TREC run needs ids without white space and "
            "control characters"
        )
