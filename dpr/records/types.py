"""The records of a test collection. Ids are always strings."""

from collections.abc import Mapping
from typing import NamedTuple

Qrels = dict[str, dict[str, int]]  # {query id: {passage id: grade}}
Scores = dict[str, dict[str, float]]  # {query id: {passage id: score}}, higher is better
# The same, or a `dpr.records.run.Run`, which has millions of rows in columns.
Found = Mapping[str, Mapping[str, float]]
RELEVANT = 1  # the lowest grade that is relevant, as in trec_eval; TREC-COVID has grades of -1


class Passage(NamedTuple):
    """`dpr.records.corpus` decides how title and text become the text that is encoded."""

    id: str
    title: str
    text: str


class Query(NamedTuple):
    id: str
    text: str
    is_passage: bool = False  # the passage with its id is the query itself, never a result
    source: int = 1  # its number in data.train, from 1; `data.prompts` has a text for each source


class Judgment(NamedTuple):
    """`is_relevant` says what a grade means."""

    query_id: str
    passage_id: str
    grade: int


class Pair(NamedTuple):
    """A training example: a query, a passage that answers it, and hard negatives."""

    query_id: str
    passage_id: str
    negative_ids: tuple[str, ...] = ()


def is_relevant(grade: int | None) -> bool:
    """Of a grade, or of None for what nobody judged."""
    return grade is not None and grade >= RELEVANT


def folded(text: str) -> str:
    """The text without differences of case and white space: equal texts are equal once folded.

    This decides which queries are trained on and judged, and which passages are duplicates. Two
    narrower questions are decided elsewhere: texts without ids are one record if they are identical
    (`dpr.sources.text_pairs`); in a batch, texts are equal if the encoder gets the same tokens.
    """
    return " ".join(text.casefold().split())
