"""Cleans, checks and counts records as they stream from a source to disk.

Invalid input is an error. Repairs, and oddities that stay, are counted (docs/collections.md).
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import ftfy

from dpr.base.errors import InputError
from dpr.base.progress import progress
from dpr.records.ids import IdHashes
from dpr.records.types import Judgment, Pair, Passage, Query, is_relevant

_CONFIG = ftfy.TextFixerConfig(explain=False)


def clean(text: str | None) -> str:
    """The text, repaired by ftfy (mojibake, control characters), with single spaces."""
    text = text or ""
    if not (text.isascii() and text.isprintable() and "&" not in text):
        text = ftfy.fix_text(text, _CONFIG)  # slow; it changes nothing in plain ASCII
    return " ".join(text.split())


class Checks:
    """The checks of one source, in order: `passages`, `queries`, then `judgments` and `pairs`.

    `counts`, for the manifest, are complete once the records have been read.

    Args:
        name: name of the source in errors.
        drop_query_id: whether a query with the id of a passage is that passage; None: refuse.
    """

    def __init__(self, name: str, drop_query_id: bool | None):
        self.name, self.drop_query_id = name, drop_query_id
        self.passage_ids, self.query_ids = IdHashes(), IdHashes()
        self.counts: dict[str, dict[str, Any]] = {
            "passages": {"count": 0, "first": None, "last": None, "empty": 0, "repaired": 0},
            "queries": {"count": 0, "repaired": 0, "with_the_id_of_a_passage": 0},
            "judgments": {},
            "pairs": {"count": 0, "with_negatives": 0, "of_unknown_passages": 0},
        }

    def passages(self, passages: Iterable[Passage]) -> Iterator[Passage]:
        counts = self.counts["passages"]
        for passage in progress(passages, desc=self.name, unit="passages"):
            counts["count"] += 1
            _check_id(passage.id, f"{self.name}: passage {counts['count']}")
            title, text = clean(passage.title), clean(passage.text)
            counts["first"] = counts["first"] or passage.id
            counts["last"] = passage.id
            counts["empty"] += not (title or text)
            counts["repaired"] += _repaired(passage.title, title) or _repaired(passage.text, text)
            self.passage_ids.add(passage.id)
            yield Passage(passage.id, title, text)

    def queries(self, queries: Iterable[Query]) -> Iterator[Query]:
        counts = self.counts["queries"]
        for query in queries:
            counts["count"] += 1
            where = f"{self.name}: query {counts['count']}"
            _check_id(query.id, where)
            text = clean(query.text)
            if not text:
                raise InputError(f"{where} ({query.id!r}) has no text; remove it or give it one")
            counts["repaired"] += _repaired(query.text, text)
            self.query_ids.add(query.id)
            equal_ids = query.id in self.passage_ids
            if equal_ids and self.drop_query_id is None:
                raise InputError(
                    f"params.yaml: data.drop_query_id: {self.name}: query {query.id!r} has the id "
                    "of a passage. Set it to true if the queries are passages themselves, as in "
                    "ArguAna, so that a query does not find itself; set it to false if the ids "
                    "are equal by chance"
                )
            counts["with_the_id_of_a_passage"] += equal_ids
            yield query._replace(text=text, is_passage=equal_ids and bool(self.drop_query_id))

    def judgments(self, judgments: Iterable[Judgment], split: str) -> Iterator[Judgment]:
        """Judgments without repetitions. Those of unknown passages stay, as in trec_eval.

        At the end, relevant passages outside the collection give a warning; an error if all are
        outside. "train" measures nothing and gives neither.
        """
        kinds = ("judgments", "relevant", "negative_grade", "unknown_passages", "repeated")
        counts = self.counts["judgments"][split] = {**dict.fromkeys(kinds, 0), "queries": 0}
        where = f"{self.name}: qrels {split}"
        rows, topics = IdHashes(), IdHashes()
        for judgment in judgments:
            rows.add(_row(judgment))
            topics.add(judgment.query_id)
        counts["queries"] = topics.distinct()
        repeated = rows.duplicates()
        grades: dict[str, int] = {}  # only of repeated judgments, to save memory
        reachable = IdHashes()  # the topic of each relevant passage in the collection
        missing = ""  # the first relevant passage outside it
        for judgment in judgments:
            query_id, passage_id, grade = judgment
            if query_id not in self.query_ids:
                raise InputError(
                    f"{where}: query {query_id!r} is judged but has no text; add it to the queries "
                    "or remove its judgments"
                )
            if len(repeated) and (row := _row(judgment)) in repeated:
                if row in grades:
                    if grades[row] != grade:
                        raise InputError(
                            f"{where}: {passage_id!r} is judged twice for query {query_id!r}, with "
                            "two grades; keep one"
                        )
                    counts["repeated"] += 1
                    continue
                grades[row] = grade
            counts["judgments"] += 1
            counts["relevant"] += is_relevant(grade)
            counts["negative_grade"] += grade < 0
            known = passage_id in self.passage_ids
            counts["unknown_passages"] += not known
            if is_relevant(grade) and known:
                reachable.add(query_id)
            elif is_relevant(grade):
                missing = missing or passage_id
            yield judgment
        if split != "train" and counts["judgments"]:
            self._report_lost(where, counts, reachable, missing)

    def _report_lost(
        self, where: str, counts: dict[str, int], reachable: IdHashes, missing: str
    ) -> None:
        relevant, topics = counts["relevant"], counts["queries"]
        if not relevant:
            raise InputError(
                f"{where}: none of the {counts['judgments']:,} judgments has a grade above 0, so "
                "nothing is relevant; correct the grades"
            )
        if not len(reachable):
            raise InputError(
                f"{where}: none of the {relevant:,} relevant passages is in the collection: "
                f"{missing!r} is judged, but the first passage is "
                f"{self.counts['passages']['first']!r}; use the same ids in both"
            )
        lost, unanswerable = relevant - len(reachable), topics - reachable.distinct()
        if counts["unknown_passages"] or unanswerable:
            print(
                f"{where}: {counts['unknown_passages']:,} judgments name passages that are not in "
                f"the collection, {lost:,} of the {relevant:,} relevant ones among them; "
                f"{unanswerable:,} of {topics:,} topics have no relevant passage in it. No system "
                "can find these; is the corpus complete?",
                file=sys.stderr,
            )

    def pairs(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """Training pairs, without those that name an unknown passage."""
        counts = self.counts["pairs"]
        for pair in pairs:
            if pair.query_id not in self.query_ids:
                raise InputError(
                    f"{self.name}: a training pair names query {pair.query_id!r}, which has no "
                    "text; add it to the queries or remove its judgments"
                )
            if all(p in self.passage_ids for p in (pair.passage_id, *pair.negative_ids)):
                counts["count"] += 1
                counts["with_negatives"] += bool(pair.negative_ids)
                yield pair
            else:
                counts["of_unknown_passages"] += 1


def refuse_duplicates(ids: IdHashes, in_order: Iterable[str], where: str) -> None:
    """Raises InputError for an id that occurs twice, with its two positions in `in_order`."""
    duplicates, first = ids.duplicates(), dict[str, int]()
    for number, key in enumerate(in_order if len(duplicates) else (), start=1):
        if key in duplicates and first.setdefault(key, number) < number:
            raise InputError(
                f"{where} {first[key]} and {number} have the same id {key!r}; ids must be unique"
            )


def _repaired(raw: str | None, cleaned: str) -> bool:
    """Whether cleaning changed more than white space."""
    return " ".join((raw or "").split()) != cleaned


def _row(judgment: Judgment) -> str:
    return f"{judgment.query_id} {judgment.passage_id}"  # ids have no white space


def _check_id(key: str, where: str) -> None:
    if not key or key.split() != [key] or not key.isprintable():
        raise InputError(
            f"{where}: {key!r} is not a valid id: a TREC run needs ids without white space and "
            "control characters"
        )
