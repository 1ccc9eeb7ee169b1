"""A run in columns, in trec_eval's order: millions of rows in a few bytes each.

Files, measures and fusions share this order: by score as a 32-bit float, best first; equal scores
by passage id, descending.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from dpr.records.types import Query, RunLike

if TYPE_CHECKING:
    import pyarrow  # in functions, since it loads slowly


class Run(Mapping[str, dict[str, float]]):
    """The passages found for each topic, as a mapping {query id: {passage id: score}} in order.

    Args:
        query_ids: the T topics; one without a passage may be among them.
        bounds: (T + 1,) int64; the rows of topic t are bounds[t] to bounds[t + 1].
        ids: (V,) Arrow strings, the different passage ids.
        passages: (R,) int32, the position in `ids` of each row's passage.
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
        *,
        ascending: bool = False,
    ) -> "Run":
        """From rows in any order.

        Args:
            topics: (R,) int, the position in `query_ids` of each row's topic.
            ids: (V,) Arrow strings, all different.
            passages: (R,) int, positions in `ids`.
            ascending: whether `ids` ascend; ordering ties then needs less memory.
        """
        scores = scores.astype(np.float32, copy=False)
        rows = _trec_eval_order(topics, scores, None if ascending else ids, passages)
        counts = np.bincount(topics, minlength=len(query_ids))
        return cls(query_ids, _bounds(counts), ids, passages[rows].astype(np.int32), scores[rows])

    @classmethod
    def of(cls, scores: RunLike) -> "Run":
        """From a mapping; a run is returned as it is."""
        if isinstance(scores, Run):
            return scores
        counts = [len(of_topic) for of_topic in scores.values()]
        topics = np.repeat(np.arange(len(scores)), counts)
        ids, passages = _distinct(list(chain.from_iterable(scores.values())))
        values = chain.from_iterable(of_topic.values() for of_topic in scores.values())
        numbers = np.fromiter(values, np.float32, len(topics))
        return cls.of_rows(list(scores), topics, ids, passages, numbers)

    @cached_property
    def topics(self) -> np.ndarray:
        """(R,) int32, the position in `query_ids` of each row's topic."""
        numbers = np.arange(len(self.query_ids), dtype=np.int32)
        return np.repeat(numbers, np.diff(self.bounds))

    @cached_property
    def ranks(self) -> np.ndarray:
        """(R,) int32, from 1 within each topic."""
        return (np.arange(1, len(self.scores) + 1) - self.bounds[self.topics]).astype(np.int32)

    def keep(self, rows: np.ndarray) -> "Run":
        """The run of the rows where the (R,) bool is True."""
        counts = np.bincount(self.topics[rows], minlength=len(self.query_ids))
        return Run(
            self.query_ids, _bounds(counts), self.ids, self.passages[rows], self.scores[rows]
        )

    def first(self, depth: int) -> "Run":
        """The first `depth` passages of each topic."""
        return self.keep(self.ranks <= depth)

    def has_duplicates(self) -> bool:
        """Whether a topic has a passage twice."""
        rows = np.sort(self.topics.astype(np.int64) * len(self.ids) + self.passages)
        return bool((rows[1:] == rows[:-1]).any())

    def positions(self, passage_ids: list[str]) -> np.ndarray:
        """(N,) int32 positions of passages in `ids`; -1 for a passage of no topic."""
        import pyarrow
        from pyarrow import compute

        wanted = pyarrow.array(passage_ids, pyarrow.string())
        return compute.index_in(wanted, value_set=self.ids).fill_null(-1).to_numpy()

    def names(self, rows: slice) -> "pyarrow.StringArray":
        """The passage ids of rows."""
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


def ranking(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """(passage id, 32-bit score) of one topic, in trec_eval's order."""
    rounded = np.fromiter(scores.values(), np.float32, len(scores)).tolist()
    ranked = sorted(zip(rounded, scores, strict=True), reverse=True)
    return [(passage_id, score) for score, passage_id in ranked]


def search_depth(top_k: int, queries: Mapping[str, Query]) -> int:
    """`top_k`, plus one if a query is a passage: `without_own_passages` removes the query."""
    return top_k + any(query.is_passage for query in queries.values())


def without_own_passages(run: RunLike, top_k: int, queries: Mapping[str, Query]) -> Run:
    """A run to `search_depth`, cut to the first `top_k` passages that are not the query itself.

    (In ArguAna, each query is a passage and comes first in its own results.)
    """
    run = Run.of(run)
    if search_depth(top_k, queries) == top_k:
        return run
    is_passage = [queries[query_id].is_passage for query_id in run.query_ids]
    own = np.where(is_passage, run.positions(run.query_ids), -1)
    return run.keep(run.passages != own[run.topics]).first(top_k)


def depth_in_words(runs: Iterable[Run], top_k: int, unit: str = "passages") -> str:
    """The number of topics in all runs, and of passages (or documents) per topic."""
    counts = np.concatenate([np.diff(run.bounds) for run in runs])
    short = int((counts < top_k).sum())
    if not short:
        return f"{len(counts):,} topics, {top_k:,} {unit} each"
    least, most = counts.min(), counts.max()
    found = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    fewer = f"{short:,} topics have fewer than {top_k:,}"
    return f"{len(counts):,} topics, {found} {unit} each; {fewer}"


def _trec_eval_order(
    topics: np.ndarray,
    scores: np.ndarray,
    ids: "pyarrow.StringArray | None",
    passages: np.ndarray,
) -> np.ndarray:
    """(R,) int64, the rows in order, topic after topic. Ids are compared only where scores tie.

    Args:
        ids: None if they ascend.
    """
    keys = topics.astype(np.uint64) << np.uint64(32) | _descending(scores)
    rows = np.argsort(keys, kind="stable")
    keys = keys[rows]
    equal = keys[1:] == keys[:-1]
    tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
    if len(tied):
        places = passages[rows[tied]].astype(np.int64)
        if ids is not None:
            names = ids.take(places).dictionary_encode()
            places = ascending_places(names.dictionary)[names.indices.to_numpy()]
        rows[tied] = rows[tied[np.lexsort((-places, keys[tied]))]]
    return rows


def ascending_places(ids: "pyarrow.StringArray") -> np.ndarray:
    """(V,) int64, the place of each of the different ids in ascending order."""
    from pyarrow import compute

    places = np.empty(len(ids), np.int64)
    places[compute.sort_indices(ids).to_numpy()] = np.arange(len(ids))
    return places


def _descending(scores: np.ndarray) -> np.ndarray:
    """uint64 numbers below 2^32 that ascend as the 32-bit floats descend."""
    bits = (scores + np.float32(0)).view(np.uint32)  # -0 becomes 0
    ascending = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return (~ascending).astype(np.uint64)


def _bounds(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])


def _distinct(texts: list[str]) -> tuple["pyarrow.StringArray", np.ndarray]:
    """The different texts, as Arrow strings, and the position of each text among them."""
    import pyarrow

    encoded = pyarrow.array(texts, pyarrow.string()).dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy()
