"""The records of a test collection. Ids are strings, always."""

from typing import NamedTuple


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
    """A training example: a passage that answers the query."""

    query_id: str
    passage_id: str
