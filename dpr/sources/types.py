"""What every source gives: a collection to search, or data to train on, as streams of records.

Queries, judgments and pairs are read several times: they are lists or, where these would be too
large, a `Stream`. Passages are read once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dpr.records.types import Judgment, Pair, Passage, Query

Item = TypeVar("Item")


class Stream(Generic[Item]):
    """What `read()` gives, anew for each reader."""

    def __init__(self, read: Callable[[], Iterable[Item]]):
        self._read = read

    def __iter__(self) -> Iterator[Item]:
        return iter(self._read())


@dataclass(frozen=True)
class Collection:
    """What is searched and judged. Passages are never held in memory.

    `qrels` by split: "test" and, if there are topics to choose a fusion weight on, "valid".
    `source` says for the manifest what was read. `ids_of` names the place that gave the ids of
    queries and passages: they compare with those of the same place alone. None: with no others.
    """

    passages: Iterable[Passage]
    queries: Iterable[Query]
    qrels: Mapping[str, Iterable[Judgment]]
    source: dict[str, Any]
    ids_of: str | None = None

    def __post_init__(self) -> None:
        _refuse_iterators(self.queries, *self.qrels.values())


@dataclass(frozen=True)
class Training:
    """What is trained on. `qrels`: "train" finds false negatives, "valid" validates.

    `held_out`: the validation queries that were drawn here, from queries that would train else.
    `ids_of`: as of a collection; None also for texts that are numbered here.
    """

    passages: Iterable[Passage]
    queries: Iterable[Query]
    qrels: Mapping[str, Iterable[Judgment]]
    pairs: Iterable[Pair]
    source: dict[str, Any]
    held_out: Set[str] = frozenset()
    ids_of: str | None = None

    def __post_init__(self) -> None:
        _refuse_iterators(self.queries, *self.qrels.values(), self.pairs)


def _refuse_iterators(*streams: Iterable[Any]) -> None:
    for stream in streams:
        if isinstance(stream, Iterator):
            raise TypeError(f"{stream} can be read only once: make it a list or a Stream")
