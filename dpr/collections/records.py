"""The records of a test collection. Ids are strings, always."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple


class Passage(NamedTuple):
    id: str
    title: str
    text: str

    def contents(self, separator: str) -> str:
        """The text that is encoded; a passage without a title or a text is the other part."""
        return separator.join(part for part in (self.title, self.text) if part)


class Query(NamedTuple):
    id: str
    text: str


class Judgment(NamedTuple):
    query_id: str
    passage_id: str
    grade: int


class Pair(NamedTuple):
    """A training example: a passage that answers the query, and passages that do not."""

    query_id: str
    passage_id: str
    negative_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Collection:
    """What is searched and judged. Passages are a stream: read once, never held.

    `qrels` by split: "test", and "valid" where there are topics to choose a fusion weight on.
    `source` tells, for the manifest, what was read.
    """

    passages: Iterable[Passage]
    queries: Iterable[Query]
    qrels: dict[str, Iterable[Judgment]]
    source: dict[str, Any]


@dataclass(frozen=True)
class Training:
    """What is trained on. `qrels`: "train" for false negatives, "valid" for the validation."""

    passages: Iterable[Passage]
    queries: Iterable[Query]
    qrels: dict[str, Iterable[Judgment]]
    pairs: Iterable[Pair]
    source: dict[str, Any]
