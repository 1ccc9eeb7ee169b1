"""Rows of the tables of a BEIR layout -> passages, queries and judgments."""

from collections.abc import Iterator
from pathlib import Path

from dpr.base.errors import InputError
from dpr.records.types import Judgment, Passage, Query
from dpr.sources import columns
from dpr.sources.reading import Findings, Reading
from dpr.sources.tables import read_rows


def read_passages(files: list[Path], findings: Findings) -> Iterator[Passage]:
    """Passages one by one; InputError if none has a text."""
    reading, empty = Reading("corpus", columns.PASSAGES), True
    for where, row in read_rows(files, reading):
        cells = reading.fields(where, row)
        title = reading.text(where, "title", cells.get("title", ""), optional="null titles")
        text = reading.text(where, "text", cells["text"], optional="null texts")
        empty = empty and not (title or text)
        yield Passage(reading.identifier(where, "_id", cells["_id"]), title, text)
    if empty:
        raise InputError(f"{files[0]}: no text in it; is it the right file?")
    findings.done(reading)


def read_queries(files: list[Path], findings: Findings) -> dict[str, Query]:
    reading, queries = Reading("queries", columns.QUERIES), dict[str, Query]()
    for where, row in read_rows(files, reading):
        cells = reading.fields(where, row)
        key = reading.identifier(where, "_id", cells["_id"])
        text = reading.text(where, "text", cells["text"])
        source = cells.get("mixture_source", 1)
        if not text.strip():
            raise InputError(f"{where}: query {key!r} has no text; remove it or give it one")
        if type(source) is not int or source < 1:
            raise InputError(
                f"{where}: 'mixture_source' must be a whole number from 1, not {source!r}"
            )
        if key in queries:
            raise InputError(f"{where}: the id {key!r} comes twice; ids must be unique")
        queries[key] = Query(key, text, mixture_source=source)
    findings.done(reading)
    return queries


def refuse_decimals(judged: set[str], queries: dict[str, Query]) -> None:
    """InputError for ids such as "7.0" of query 7; pandas reads a column with gaps so."""
    for key in sorted(judged):
        if (digits := key.removesuffix(".0")) != key and digits in queries:
            raise InputError(f"qrels: query {key!r} must be {digits!r}, as in the queries")


def read_judgments(files: list[Path], split: str, findings: Findings) -> list[Judgment]:
    """Judgments, grouped by query; InputError for a passage judged twice."""
    reading, qrels = Reading(f"qrels {split}".strip(), columns.QRELS), dict[str, dict[str, int]]()
    for where, row in read_rows(files, reading):
        cells = reading.fields(where, row)
        query_id = reading.identifier(where, "query-id", cells["query-id"])
        passage_id = reading.identifier(where, "corpus-id", cells["corpus-id"])
        grades = qrels.setdefault(query_id, {})
        if passage_id in grades:
            raise InputError(f"{where}: {passage_id!r} is judged twice for {query_id!r}")
        if "score" in cells:
            grade = reading.grade(where, "score", cells["score"])
        else:
            grade = 1
            reading.repaired["judgments without a grade, taken as 1"] += 1
        grades[passage_id] = grade
    findings.done(reading)
    return [Judgment(q, p, grade) for q, grades in qrels.items() for p, grade in grades.items()]
