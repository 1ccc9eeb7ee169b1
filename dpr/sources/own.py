"""Tables and text files of people who have no BEIR layout: their documents and their questions.

Documents are a table, or a folder with a .txt or .md file each. `dpr.sources.tables` lists the
formats of tables. `dpr.sources.collect` makes a BEIR folder of both.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from dpr.base.errors import InputError
from dpr.records.lines import LONGEST, opened
from dpr.records.types import Passage, folded, is_relevant
from dpr.sources.columns import (
    DOCUMENT_IDS,
    PASSAGES,
    QRELS,
    QUERIES,
    Kind,
    listed,
    normal,
    separators,
)
from dpr.sources.folders import chosen, find_tables
from dpr.sources.reading import Reading
from dpr.sources.tables import read_rows, require_table

TEXT_FILES = (".txt", ".md")
LONG = 190  # words: about 256 tokens, the limit of all-MiniLM-L6-v2
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)

Told = Mapping[str, str | None]  # {field: its column, or None to find it by the known names}


@dataclass(frozen=True)
class Headed(Kind):
    """A table whose first row is a header, known or not."""

    def header(self, where: str, cells: list[str]) -> list[str]:
        return super().header(where, cells) or cells

    def told(self, told: Told) -> "Headed":
        """With these columns for their fields, and for no others."""
        named = {key: (normal(name),) for key, name in told.items() if name}
        taken = {name for names in named.values() for name in names}
        free = {
            key: tuple(name for name in names if name not in taken)
            for key, names in self.columns.items()
        }
        return replace(self, columns=free | named, required=tuple({*self.required, *named}))

    def used(self, path: Path, names: Sequence[str]) -> dict[str, str]:
        """{field: column} of a header; InputError for a field that has no column."""
        used = {}
        for key, known in self.columns.items():
            found = [name for name in names if self.field_of(name) == key]
            if found:
                used[key] = min(found, key=lambda name: known.index(normal(name)))
            elif key in self.required:
                there = f"the columns are: {listed(names)}{separators(names)}"
                name = f"; name one with --{key}, or call it {' or '.join(known[:3])}"
                raise InputError(f"{path}: no column for the {key}; {there}{name}")
        return used


DOCUMENTS = Headed(
    {
        "id": PASSAGES.columns["_id"],
        "title": (*PASSAGES.columns["title"], "headline", "heading", "subject"),
        "text": PASSAGES.columns["text"],
    },
    required=("id", "text"),
    by_position=(),
)
QUESTIONS = Headed(
    {
        "question": ("question", *QUERIES.columns["text"]),
        "answer": (*DOCUMENT_IDS, "answer_id", "document", "doc", "answer"),
        "grade": QRELS.columns["score"],
    },
    required=("question", "answer"),
    by_position=(),
)


class Documents:
    """The documents of a table or a folder, streamed.

    Attributes:
        columns: the column of each field, once the first row is read.
        others: files of a folder that are left out, by suffix.
        count, empty, long: documents; those without text; those above `LONG` words.
    """

    def __init__(self, path: Path, told: Told):
        _require(path)
        self.path, self.kind = path, DOCUMENTS.told(told)
        self.columns, self.others = dict[str, str](), Counter[str]()
        self.count = self.empty = self.long = 0

    def __iter__(self) -> Iterator[Passage]:
        is_folder = self.path.is_dir() and any(_text_files(self.path, Counter()))
        if is_folder and (tables := _tables(self.path)):
            raise InputError(
                f"{self.path}: has text files and tables, and either may be the documents: name "
                f"the table, such as {tables[0]}, or a folder with text files alone"
            )
        for where, document in self._files() if is_folder else self._rows():
            if not document.id.isprintable():
                raise InputError(f"{where}: the id {document.id!r} has a control character")
            self.count += 1
            self.empty += not document.text.strip()
            self.long += len(document.text.split()) > LONG
            yield document
        if self.empty == self.count:
            raise InputError(f"{self.path}: no document has a text; is it the right column?")

    def _rows(self) -> Iterator[tuple[str, Passage]]:
        reading = Reading("documents", self.kind)
        tables = find_tables(self.path) if self.path.is_dir() else {"": [self.path]}
        for where, row in read_rows(chosen(tables, None, str(self.path)), reading):
            self.columns = self.columns or self.kind.used(self.path, [*row, *reading.ignored])
            cells = reading.fields(where, row)
            title = reading.text(where, "title", cells.get("title", ""), optional="null titles")
            text = reading.text(where, "text", cells["text"], optional="null texts")
            yield where, Passage(_id(reading, where, cells["id"]), title, text)

    def _files(self) -> Iterator[tuple[str, Passage]]:
        self.columns = {"id": "path without suffix", "title": "first heading", "text": "the rest"}
        for path in _text_files(self.path, self.others):
            text, title = _read(path), ""
            if path.suffix.lower() == ".md" and (heading := _HEADING.search(text)):
                title, text = heading[1], text[: heading.start()] + text[heading.end() :]
            name = path.relative_to(self.path).with_suffix("").as_posix()
            yield str(path), Passage(_without_spaces(name), title, text)


def _require(path: Path) -> None:
    """InputError for a path that is no table; a folder is looked into later."""
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    if not path.is_dir():
        require_table(path)


def _tables(folder: Path) -> list[Path]:
    found = (path for files in find_tables(folder).values() for path in files)
    return [path for path in found if path.suffix.lower() not in TEXT_FILES]


def _text_files(folder: Path, others: Counter[str]) -> Iterator[Path]:
    """Text files in order, without hidden ones."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(root, name) for name in sorted(files) if not name.startswith(".")):
            if path.suffix.lower() in TEXT_FILES:
                yield path
            else:
                others[path.suffix or path.name] += 1


def _read(path: Path) -> str:
    with opened(path) as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise InputError(f"{path}: more than {LONGEST:,} bytes; is it a text?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error}); convert the file first") from None


def _id(reading: Reading, where: str, value: Any) -> str:
    """An id. White space in it becomes `_`, since the columns of a TREC run have none."""
    if isinstance(value, str):
        value = _without_spaces(value)
        if not value:
            raise InputError(f"{where}: the id of the document is empty")
    return reading.identifier(where, "id", value)


def _without_spaces(name: str) -> str:
    return "_".join(name.split())


@dataclass
class Question:
    """A question with the grades of its documents.

    Attributes:
        where: its first row.
    """

    text: str
    where: str
    grades: dict[str, int] = field(default_factory=dict)
    id: str = ""

    @property
    def is_answered(self) -> bool:
        return any(map(is_relevant, self.grades.values()))


class Questions(NamedTuple):
    path: Path
    found: list[Question]
    columns: dict[str, str]  # by field

    @classmethod
    def read(cls, path: Path, told: Told) -> "Questions":
        """The questions of a table, in order. Questions of equal text are one.

        Raises:
            InputError: for an empty question or id, and for two grades of one document.
        """
        _require(path)
        kind, found = QUESTIONS.told(told), dict[str, Question]()
        reading, names = Reading("questions", kind), dict[str, str]()
        for where, row in read_rows([path], reading):
            names = names or kind.used(path, [*row, *reading.ignored])
            cells = reading.fields(where, row)
            text = " ".join(reading.text(where, "question", cells["question"]).split())
            if not text:
                raise InputError(f"{where}: the question is empty; remove the row")
            question = found.setdefault(folded(text), Question(text, where))
            answer = _id(reading, where, cells["answer"])
            grade = reading.grade(where, "grade", cells.get("grade", 1))
            if question.grades.setdefault(answer, grade) != grade:
                raise InputError(f"{where}: {answer!r} has two grades for this question; keep one")
        return cls(path, list(found.values()), names)
