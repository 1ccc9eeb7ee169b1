"""The interface of a source: from a `Request` to a `Collection`, a `Training` or both.

Queries, judgments and pairs are read several times: give a list or, for more than memory holds, a
`Stream`. Passages are read once and are never held in memory.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

from dpr.records.types import Judgment, Pair, Passage, Query
from dpr.settings import DataSettings


class Request(NamedTuple):
    location: str  # what follows the colon of the source's name: a folder, file, URL or id
    data: DataSettings


@dataclass(frozen=True, kw_only=True)
class Records:
    """The records that collections and training data both have.

    Attributes:
        qrels: judgments by split.
        description: of the input, for the manifest.
        id_space: ids are compared only within one id space; None: never.
    """

    passages: Iterable[Passage]
    queries: Iterable[Query]
    qrels: Mapping[str, Iterable[Judgment]]
    description: dict[str, Any]
    id_space: str | None = None

    def __post_init__(self) -> None:
        for stream in (self.queries, *self.qrels.values(), getattr(self, "pairs", ())):
            if isinstance(stream, Iterator):
                raise TypeError(f"{stream} can be read only once: make it a list or a Stream")


@dataclass(frozen=True, kw_only=True)
class Collection(Records):
    """Passages to search. Splits: "test" and, to choose a fusion weight, "valid".

    Attributes:
        judged: False for passages alone, which can be searched but not measured.
    """

    judged: bool = True


@dataclass(frozen=True, kw_only=True)
class Training(Records):
    """Training pairs. Splits: "train", which finds false negatives, and "valid".

    Attributes:
        held_out: the validation queries that `data.held_out` drew from the training queries.
    """

    pairs: Iterable[Pair]
    held_out: Set[str] = frozenset()
