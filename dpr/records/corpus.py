"""Title and text of a passage, joined to the text that is encoded, indexed and measured."""

import itertools
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dpr.records import beir
from dpr.records.documents import document_of
from dpr.records.ids import digests, first_of_equals
from dpr.records.lines import read_lines
from dpr.records.types import Passage, Stream, folded


class Corpus(NamedTuple):
    """The passages of a folder in BEIR layout, as texts.

    `Corpus(Path("data/collection"), ". ")` reads the title "Heart" and the text "It beats." as
    "Heart. It beats.".

    Args:
        cut: whether the passages are those of cut documents (`dpr.records.documents`).
    """

    folder: Path
    separator: str
    cut: bool = False

    def texts(self, wanted: Callable[[int], bool] = lambda row: True) -> Iterator[tuple[str, str]]:
        """(id, text) of the passages whose rows are wanted, in the order of the file."""
        passages = beir.read_passages(self.folder, wanted)
        return ((passage.id, self.text(passage)) for passage in passages)

    @property
    def ids(self) -> Stream[str]:
        """The id of each passage."""
        return Stream(lambda: (passage_id for passage_id, _ in self.texts()))

    def document(self, passage_id: str) -> str:
        """The document of a passage; the passage itself if documents are not cut."""
        return document_of(passage_id) if self.cut else passage_id

    @property
    def documents(self) -> Stream[str]:
        """The id of each document; of each passage if documents are not cut."""
        return Stream(lambda: (d for d, _ in itertools.groupby(map(self.document, self.ids))))

    def passage_counts(self, documents: Container[str]) -> dict[str, int]:
        """The number of passages of each of these documents."""
        counts: dict[str, int] = {}
        for document, passages in itertools.groupby(self.ids, self.document):
            if document in documents:
                counts[document] = sum(1 for _ in passages)
        return counts

    def text(self, passage: Passage) -> str:
        """Title, separator and text; only one of them if the other is empty."""
        return self.separator.join(part for part in (passage.title, passage.text) if part)

    def passage_count(self) -> int:
        """The number of passages, without parsing them; errors of `read_lines`."""
        return sum(1 for _ in read_lines(self.file))

    def duplicates(self) -> dict[str, set[str]]:
        """{passage id: ids of all passages with its text}, without passages of unique text.

        Texts are compared once `folded`. Memory: a few dozen bytes per passage.
        """
        first = first_of_equals(digests(folded(text) for _, text in self.texts()))
        repeated = np.bincount(first)[first] > 1
        ids = (passage_id for passage_id, _ in self.texts(repeated.__getitem__))
        equal: dict[int, set[str]] = {}
        for row, passage_id in zip(first[repeated].tolist(), ids, strict=True):
            equal.setdefault(row, set()).add(passage_id)
        return {passage_id: group for group in equal.values() for passage_id in group}

    @property
    def file(self) -> Path:
        return self.folder / beir.PASSAGES
