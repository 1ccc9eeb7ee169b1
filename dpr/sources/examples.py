"""Rows of training tables -> examples: a query, a positive and its negatives, as texts.

A row may have several positives; each is an example with all negatives of the row. A passage is a
text or, in JSON and Parquet, {"title", "text"}: both are joined with `data.separator`.
"""

import ast
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

from dpr.base.errors import InputError
from dpr.sources.columns import IDS_NEED_A_FOLDER, Kind
from dpr.sources.reading import Findings, Reading, is_null, shown
from dpr.sources.tables import read_rows

LOOKED_AT = 100  # the first rows, which must not all be ids


class Example(NamedTuple):
    query: str
    positive: str
    negatives: tuple[str, ...] = ()

    @property
    def passages(self) -> tuple[str, ...]:
        return (self.positive, *self.negatives)


def read_examples(
    files: Iterable[Path], kind: Kind, separator: str, findings: Findings
) -> Iterator[Example]:
    """The examples of all files, in order.

    Rows of label 0 are not positives: they are left out and counted. Without negatives, `score` is
    such a label; with negatives it is a teacher's, which is not used.

    Raises:
        InputError: naming file and line or row, for an empty text, a label that is no whole number
            and passages that are ids; and errors of `read_rows`.
    """
    reading, looked, ids = Reading("examples", kind), 0, True
    where = ""
    for where, row in read_rows(files, reading):
        cells = reading.fields(where, row)
        if not _is_positive(where, cells, reading):
            reading.repaired["rows of label 0 or below, left out"] += 1
            continue
        query = _filled(where, "query", reading.text(where, "query", cells["query"]))
        if "title" in cells:
            reading.taken.add("'title' is joined to the positive")
        passages = _Passages(where, cells.get("title"), separator, reading)
        positives = passages.of("positive", cells["positive"])
        negatives = [n for cell in cells.get("negative", ()) for n in passages.of("negative", cell)]
        if not positives:
            raise InputError(f"{where}: no 'positive'; remove the row or give it one")
        if looked < LOOKED_AT:
            looked += 1
            ids = ids and all(map(_is_id, (*positives, *negatives)))
            if ids and looked == LOOKED_AT:
                raise _only_ids(where)
        for positive in positives:
            yield Example(query, positive, tuple(negatives))
    if ids and looked:
        raise _only_ids(where)
    findings.done(reading)


def _is_positive(where: str, cells: dict[str, Any], reading: Reading) -> bool:
    labels = [key for key in ("label", "score") if key in cells]
    if "score" in labels and "negative" in cells:
        labels.remove("score")
        reading.scores.add("score")
    return all(
        reading.grade(where, key, int(cells[key]) if isinstance(cells[key], bool) else cells[key])
        > 0
        for key in labels
    )


class _Passages(NamedTuple):
    """Takes the passages of one row from its cells."""

    where: str
    title: Any  # a column, of the positive
    separator: str
    reading: Reading

    def of(self, key: str, cell: Any) -> list[str]:
        """The texts of a cell: none, one or a list."""
        cells = cell if isinstance(cell, list) else [] if is_null(cell) else [cell]
        title = self.title if key == "positive" else None
        return [self._text(key, value, title) for value in cells]

    def _text(self, key: str, value: Any, title: Any) -> str:
        where, reading = self.where, self.reading
        if isinstance(value, dict):
            title, value = value.get("title", ""), value.get("text")
            title = reading.text(where, f"title of {key}", title, optional="null titles")
        elif title is not None:
            title = reading.text(where, "title", title)
        text = reading.text(where, key, value)
        if _is_list(text):
            raise InputError(
                f"{where}: {key!r} is a list written as text, {shown(text)}; write the table as "
                "JSON lines or Parquet"
            )
        parts = (part for part in (title, text) if part and part.strip())
        return _filled(where, key, self.separator.join(parts))


def _filled(where: str, key: str, text: str) -> str:
    if not text.strip():
        raise InputError(f"{where}: {key!r} is empty; remove the row or give it a text")
    return text


def _is_id(text: str) -> bool:
    """Whether a text could be an id: a short word with a digit or a sign of ids in it."""
    short = len(text) <= 64 and text.isascii() and text.split() == [text]
    return short and any(letter.isdigit() or letter in "-_/:#" for letter in text)


def _only_ids(where: str) -> InputError:
    return InputError(
        f"{where}: all passages up to here are ids, not texts. {IDS_NEED_A_FOLDER}; "
        "tools.collect makes such a folder of questions and documents"
    )


def _is_list(text: str) -> bool:
    """Whether a text is a list as Python, NumPy or JSON writes it."""
    if not text.startswith(("['", '["', "[{")):
        return False
    with_commas = re.sub(r"\}\s+\{", "}, {", text)  # NumPy writes none
    for parse in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError), catch_warnings():
            simplefilter("ignore")  # of "\d" and the like in a text
            return isinstance(parse(with_commas), list)
    return False
