"""A collection for people to read: its size, judged topics, and passages.

Passages are found by id, cut to a snippet or shown within their document, with query words marked.
"""

import json
import re
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.records import beir
from dpr.records.documents import document_of
from dpr.records.ids import IdRows, digests
from dpr.records.types import Passage
from tools.sides import MANIFEST

COLLECTION = Path("data/collection")
# The most common English words say nothing about a passage.
COMMON = """
    a an and are as at be but by can did do does for from had has have how if in into is it its
    not of on or such that the their then there these they this to was what when which who why
    will with
"""
SHORTEST, ENDING = 4, 3  # the minimum length of a stem; the maximum length of an ending
WHOLE = 50_000  # letters of a document that are shown


def size() -> str:
    """The name of the collection and its number of passages, in words."""
    collection = read_json(MANIFEST)["collection"]
    counts = collection["passages"]
    cut = f", cut from {counts['documents']:,} documents" if "documents" in counts else ""
    return f"{counts['count']:,} passages of {collection['name']}{cut}"


def examples(most: int = 3) -> list[str]:
    """The texts of the first test topics; none if the collection has no queries."""
    judged = dict.fromkeys(j.query_id for j in beir.stream_judgments(COLLECTION, "test"))
    queries = beir.read_queries(COLLECTION)
    return [queries[query_id].text for query_id in islice(judged, most)]


class Lookup:
    """The passages of a folder, by id. The file stays on disk; a passage takes 20 bytes of memory.

    Args:
        cut: whether they are passages of documents, so that ids of documents are known, too.
    Raises:
        InputError: see `beir.read_passages`.
    """

    def __init__(self, folder: Path, cut: bool = False):
        self.file, self.cut = folder / beir.PASSAGES, cut
        ids = (passage.id for passage in beir.read_passages(folder))
        self.rows = IdRows(digests(map(document_of, ids) if cut else ids))
        starts, position = array("Q"), 0
        with self.file.open("rb") as file:
            for line in file:
                starts.append(position)
                position += len(line)
        self.starts = np.frombuffer(starts, np.uint64)

    def __getitem__(self, passage_id: str) -> Passage:
        document = document_of(passage_id) if self.cut else passage_id
        for passage in self.of_document(document):
            if passage.id == passage_id:
                return passage
        raise self._missing(passage_id)

    def of_document(self, document_id: str) -> list[Passage]:
        """The passages of a document in order; if documents are not cut, the passage itself."""
        _, rows = self.rows.all_of(digests([document_id]))
        if not len(rows):
            raise self._missing(document_id)
        passages = []
        with self.file.open("rb") as file:
            for row in rows:
                file.seek(int(self.starts[row]))
                fields = json.loads(file.readline())
                passages.append(Passage(fields["_id"], fields.get("title", ""), fields["text"]))
        return passages

    def _missing(self, key: str) -> InputError:
        return InputError(f"{self.file}: no passage {key!r}; search again: `dvc repro`")


class Document(NamedTuple):
    """The texts of a document's passages in order; of a long document, those around the found one.

    Args:
        found: the position of the found passage in `texts`.
        name: how much of the document it is, in words.
    """

    texts: list[str]
    found: int
    name: str

    @classmethod
    def around(
        cls, texts: list[str], found: int, words: "Words", shared: int, most: int = WHOLE
    ) -> "Document":
        """The found passage with as many neighbors on both sides as fit into `most` letters.

        Args:
            shared: words that neighbors share, at most.
        """
        shown, everything = range(found, found + 1), len(texts)
        while len(shown) < everything:
            wider = range(max(0, shown.start - 1), min(everything, shown.stop + 1))
            if sum(len(texts[i]) for i in wider) > most:
                break
            shown = wider
        parts = [words.snippet(texts[i], most) for i in shown]
        if everything == 1:
            name = "whole text" if parts == texts else "longer excerpt"
        else:
            name = f"whole document: {everything} passages"
            if len(shown) < everything:
                name = f"passages {shown.start + 1} to {shown.stop} of {everything}"
            name += f" (neighbors share up to {shared} words)" if shared else ""
        return cls(parts, found - shown.start, name)


class Words:
    """The words of a query. Words with the same stem match: wound, wounds, wounded."""

    def __init__(self, query: str):
        words = {word.casefold() for word in re.findall(r"\w+", query)} - set(COMMON.split())
        stems = "|".join(_stem(word) for word in sorted(words))
        self.pattern = re.compile(rf"\b(?:{stems})", re.IGNORECASE) if words else None

    def parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """Split the text into pairs (part, whether it is a word of the query)."""
        end = 0
        for match in self.pattern.finditer(text) if self.pattern else ():
            if match.start() > end:
                yield text[end : match.start()], False
            yield match[0], True
            end = match.end()
        if end < len(text):
            yield text[end:], False

    def best(self, passages: list[Passage]) -> Passage:
        """The first passage with the most distinct query words."""

        def different(passage: Passage) -> int:
            text = f"{passage.title} {passage.text}"
            hits = self.pattern.findall(text) if self.pattern else []
            return len({hit.casefold()[:SHORTEST] for hit in hits})

        return max(passages, key=different)

    def snippet(self, text: str, length: int = 280) -> str:
        """An excerpt of about `length` characters with the most distinct query words."""
        if len(text) <= length or self.pattern is None:
            return _cut(text, 0, length)
        hits = [(m.start(), m[0].casefold()[:SHORTEST]) for m in self.pattern.finditer(text)]
        starts = [max(0, start - 40) for start, _ in hits] or [0]

        def different_words(start: int) -> int:
            return len({word for hit, word in hits if start <= hit < start + length - 20})

        return _cut(text, max(starts, key=different_words), length)


def _stem(word: str) -> str:
    """A pattern for the word with any ending; for a short word, with a plural s."""
    stem = re.escape(word[: max(SHORTEST, len(word) - ENDING)])
    return stem + (r"\w*" if len(word) >= SHORTEST else r"s?\b")


def _cut(text: str, start: int, length: int) -> str:
    start = min(start, max(0, len(text) - length))
    end = start + length
    if start:
        space = text.find(" ", start, end)
        start = space + 1 if space >= 0 else start
    if end < len(text):
        end = text.rfind(" ", start, end + 1) if " " in text[start : end + 1] else end
    return "… " * (start > 0) + text[start:end] + " …" * (end < len(text))
