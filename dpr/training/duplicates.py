"""Duplicates: texts with the same tokens, and so with the same vector."""

from collections.abc import Iterable
from typing import NamedTuple

from dpr.encoders.tokens import Tokens
from dpr.records.types import Qrels


class Duplicates(NamedTuple):
    """{id: the first id with the same tokens}, for the queries and the passages that have one.

    A duplicate of a relevant passage must not be a negative; what is relevant to a query is
    relevant to its duplicates.
    """

    queries: dict[str, str]
    passages: dict[str, str]

    def query(self, query_id: str) -> str:
        return self.queries.get(query_id, query_id)

    def passage(self, passage_id: str) -> str:
        return self.passages.get(passage_id, passage_id)

    def merge(self, qrels: Qrels) -> Qrels:
        """Judgments by first ids; the best grade of duplicates."""
        merged: Qrels = {}
        for query_id, grades in qrels.items():
            of_query = merged.setdefault(self.query(query_id), {})
            for passage_id, grade in grades.items():
                first = self.passage(passage_id)
                of_query[first] = max(grade, of_query.get(first, grade))
        return merged


NO_DUPLICATES = Duplicates({}, {})


def find_duplicates(ids: Iterable[str], tokens: list[Tokens]) -> dict[str, str]:
    """{id: the first id with the same tokens}, without the first ids themselves."""
    first: dict[bytes, str] = {}
    found = {i: first.setdefault(own.tobytes(), i) for i, own in zip(ids, tokens, strict=True)}
    return {own: before for own, before in found.items() if own != before}
