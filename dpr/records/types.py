"""The records of a test collection, and the systems that search it. Ids are always strings."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, Literal, NamedTuple, TypeVar, get_args

# The systems that are compared, in the order of tables; `reranked` only if rerank.model is set.
System = Literal["bm25", "zero_shot", "dense", "rrf", "hybrid", "reranked"]
SYSTEMS: tuple[str, ...] = get_args(System)
ENCODERS = ("zero_shot", "dense")  # dvc.yaml repeats encode, index and search for these

Qrels = dict[str, dict[str, int]]  # {query id: {passage id: grade}}
Scores = dict[str, dict[str, float]]  # {query id: {passage id: score}}, higher is better
RunLike = Mapping[str, Mapping[str, float]]  # the same, or a `dpr.records.run.Run`
RELEVANT = 1  # the lowest relevant grade, as in trec_eval; TREC-COVID has grades of -1

Item = TypeVar("Item")


class Stream(Generic[Item]):
    """An iterable that calls `read` each time it is read."""

    def __init__(self, read: Callable[[], Iterable[Item]]):
        self._read = read

    def __iter__(self) -> Iterator[Item]:
        return iter(self._read())


class Passage(NamedTuple):
    """`dpr.records.corpus` joins title and text to the text that is encoded."""

    id: str
    title: str
    text: str


class Query(NamedTuple):
    """A topic, or the query of a training pair.

    Args:
        is_passage: the query is the passage with the same id, which is never its result.
        mixture_source: the position of its source in data.train, from 1; each has its own prompt in
            `data.prompts`.
    """

    id: str
    text: str
    is_passage: bool = False
    mixture_source: int = 1


class Judgment(NamedTuple):
    """The grade of a passage for a query; see `is_relevant`."""

    query_id: str
    passage_id: str
    grade: int


class Pair(NamedTuple):
    """A training example: a query, a passage that answers it, and hard negatives."""

    query_id: str
    passage_id: str
    negative_ids: tuple[str, ...] = ()


def is_relevant(grade: int | None) -> bool:
    """Whether a grade is relevant; None, for an unjudged passage, is not."""
    return grade is not None and grade >= RELEVANT


def folded(text: str) -> str:
    """The text in one case and with single spaces: texts count as equal if they are once folded.

    This decides which queries are trained on and judged, and which passages are duplicates. Two
    narrower questions are decided elsewhere: texts without ids are one record if they are identical
    (`dpr.sources.text_pairs`); in a batch, texts are equal if the encoder gets the same tokens.
    """
    return " ".join(text.casefold().split())
