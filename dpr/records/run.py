"""The order of a run: decided here for files, measures and fusions.

It is trec_eval's: by score as a 32-bit float, best first; equal scores by id, descending.


A run in columns: millions of rows in a few bytes each.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from dpr.records.types import Found

if TYPE_CHECKING:
    import pyarrow  # in functions, since it loads slowly


def ranking(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """(passage id, 32-bit score) of one topic, in order."""
    rounded = np.fromiter(scores.values(), np.float32, len(scores)).tolist()
    order = sorted(zip(rounded, scores, strict=True), reverse=True)
    return [(passage_id, score) for score, passage_id in order]


def order(
    topics: np.ndarray, scores: np.ndarray, ascending: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """The rows of many topics in order, topic after topic: (R,) int64 positions.

    Args:
        topics: (R,) int, of each row.
        scores: (R,) float32.
        ascending: for some rows, numbers that ascend with their ids. (Most rows are not tied.)
    """
    keys = topics.astype(np.uint64) << np.uint64(32) | _descending(scores)
    found = np.argsort(keys, kind="stable")
    keys = keys[found]
    equal = keys[1:] == keys[:-1]
    tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
    if len(tied):
        found[tied] = found[tied[np.lexsort((-ascending(found[tied]), keys[tied]))]]
    return found


def _descending(scores: np.ndarray) -> np.ndarray:
    """uint64 numbers below 2^32 that ascend as the 32-bit floats descend."""
    bits = (scores + np.float32(0)).view(np.uint32)  # -0 becomes 0
    ascending = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return (~ascending).astype(np.uint64)


class Run(Mapping[str, dict[str, float]]):
    """The passages found for each topic, in trec_eval's order (`dpr.records.run`).

    As a mapping it is {query id: {passage id: score}}; its columns are

    Args:
        query_ids: the T topics; one without a passage may be among them.
        bounds: (T + 1,) int64; the rows of topic t are bounds[t] to bounds[t + 1].
        ids: (V,) Arrow strings, the different passage ids.
        passages: (R,) int32, of each row the position of its passage in `ids`.
        scores: (R,) float32.
    """

    def __init__(
        self,
        query_ids: list[str],
        bounds: np.ndarray,
        ids: "pyarrow.StringArray",
        passages: np.ndarray,
        scores: np.ndarray,
    ):
        self.query_ids, self.bounds, self.ids = query_ids, bounds, ids
        self.passages, self.scores = passages, scores

    @classmethod
    def of_rows(
        cls,
        query_ids: list[str],
        topics: np.ndarray,
        ids: "pyarrow.StringArray",
        passages: np.ndarray,
        scores: np.ndarray,
        ascending: bool = False,
    ) -> "Run":
        """From rows in any order.

        Args:
            topics: (R,) int, of each row the position of its topic in `query_ids`.
            ids: (V,) Arrow strings, different from each other.
            passages: (R,) int, positions in `ids`.
            ascending: whether the ids are.
        """
        scores = scores.astype(np.float32, copy=False)

        def places(rows: np.ndarray) -> np.ndarray:
            if ascending:
                return passages[rows].astype(np.int64)
            of_rows = ids.take(passages[rows]).dictionary_encode()
            return ascending_order(of_rows.dictionary)[of_rows.indices.to_numpy()]

        rows = order(topics, scores, places)
        counts = np.bincount(topics, minlength=len(query_ids))
        bounds = np.concatenate([[0], np.cumsum(counts)])
        return cls(query_ids, bounds, ids, passages[rows].astype(np.int32), scores[rows])

    @classmethod
    def of(cls, scores: Found) -> "Run":
        """From a mapping; a run is returned as it is."""
        if isinstance(scores, Run):
            return scores
        counts = [len(found) for found in scores.values()]
        topics = np.repeat(np.arange(len(scores)), counts)
        ids, passages = different(list(chain.from_iterable(scores.values())))
        values = chain.from_iterable(found.values() for found in scores.values())
        numbers = np.fromiter(values, np.float32, len(topics))
        return cls.of_rows(list(scores), topics, ids, passages, numbers)

    @cached_property
    def topics(self) -> np.ndarray:
        """(R,) int32, of each row the position of its topic in `query_ids`."""
        numbers = np.arange(len(self.query_ids), dtype=np.int32)
        return np.repeat(numbers, np.diff(self.bounds))

    @cached_property
    def ranks(self) -> np.ndarray:
        """(R,) int32, of each row the rank from 1."""
        return (np.arange(1, len(self.scores) + 1) - self.bounds[self.topics]).astype(np.int32)

    def keep(self, rows: np.ndarray) -> "Run":
        """The run of the rows where the (R,) bool is True."""
        counts = np.bincount(self.topics[rows], minlength=len(self.query_ids))
        bounds = np.concatenate([[0], np.cumsum(counts)])
        return Run(self.query_ids, bounds, self.ids, self.passages[rows], self.scores[rows])

    def first(self, depth: int) -> "Run":
        """The first `depth` passages of each topic."""
        return self.keep(self.ranks <= depth)

    def has_duplicates(self) -> bool:
        """Whether a topic has a passage twice."""
        rows = np.sort(self.topics.astype(np.int64) * len(self.ids) + self.passages)
        return bool((rows[1:] == rows[:-1]).any())

    def positions(self, passage_ids: list[str]) -> np.ndarray:
        """(N,) int64, where these are in `ids`; -1 for one that no topic found."""
        from pyarrow import compute

        wanted, rows = different(passage_ids)
        # Which of the few wanted ones each of the many ids is, and back.
        of_id = compute.index_in(self.ids, value_set=wanted).fill_null(-1).to_numpy()
        found = np.flatnonzero(of_id >= 0)
        at = np.full(len(wanted), -1)
        at[of_id[found]] = found
        return at[rows]

    def names(self, rows: slice) -> "pyarrow.StringArray":
        """The passage ids of some rows."""
        return self.ids.take(self.passages[rows])

    @cached_property
    def _topic_of(self) -> dict[str, int]:
        return {query_id: topic for topic, query_id in enumerate(self.query_ids)}

    def __getitem__(self, query_id: str) -> dict[str, float]:
        topic = self._topic_of[query_id]
        rows = slice(self.bounds[topic], self.bounds[topic + 1])
        return dict(zip(self.names(rows).to_pylist(), self.scores[rows].tolist(), strict=True))

    def __contains__(self, query_id: object) -> bool:
        return query_id in self._topic_of

    def __iter__(self) -> Iterator[str]:
        return iter(self.query_ids)

    def __len__(self) -> int:
        return len(self.query_ids)


def different(texts: list[str]) -> tuple["pyarrow.StringArray", np.ndarray]:
    """The different ones, as Arrow strings, and the position of each text among them."""
    import pyarrow

    encoded = pyarrow.array(texts, pyarrow.string()).dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy()


def ascending_order(ids: "pyarrow.StringArray") -> np.ndarray:
    """(V,) int64, the place of each of some different ids in ascending order."""
    from pyarrow import compute

    places = np.empty(len(ids), np.int64)
    places[compute.sort_indices(ids).to_numpy()] = np.arange(len(ids))
    return places
