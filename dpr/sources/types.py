"""What every source gives: a collection to search, or data to train on, as streams of records."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dpr.records.types import Judgment, Pair, Passage, Query


@dataclass(frozen=True)
class Collection:
    """What is searched and judged. Passages are read once and never held in memory.

    `qrels` by split: "test" and, if there are topics to choose a fusion weight on, "valid".
    `source` says for the manifest what was read.
    """

    passages: Iterable[Passage]
    queries: Iterable[Query]
    qrels: Mapping[str, Iterable[Judgment]]
    source: dict[str, Any]


@dataclass(frozen=True)
class Training:
    """What is trained on. `qrels`: "train" finds false negatives, "valid" validates.

    `held_out`: the validation queries were drawn here, from queries that would train else.
    """

    passages: Iterable[Passage]
    queries: Iterable[Query]
    qrels: Mapping[str, Iterable[Judgment]]
    pairs: Iterable[Pair]
    source: dict[str, Any]
    held_out: bool = False
