"""Two runs over the same topics: means, a test of the difference, and the topics that moved."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dpr import measures
from dpr.evaluation import power, significance
from dpr.measures import PRIMARY_MEASURE
from dpr.records import beir
from dpr.records.run import ranking
from dpr.records.types import Passage, Qrels, Query, is_relevant
from dpr.settings import load_settings
from tools.passages import COLLECTION, Lookup, Words
from tools.sides import Side

MOVED, SHOWN = 10, 3  # topics that moved most; passages shown of each run


class Hit(NamedTuple):
    """A passage in a run; of a document that is cut, the one with the most words of the query."""

    passage: Passage
    snippet: str
    relevant: bool  # by the judgments


class Topic(NamedTuple):
    """A topic with its value on both sides. `hits`: the first passages of each run, by side."""

    text: str
    words: Words
    before: float
    after: float
    hits: dict[str, list[Hit]]

    @property
    def gain(self) -> float:
        return self.after - self.before


@dataclass(frozen=True)
class Compared:
    """Two sides over the topics of `qrels`, in one measure."""

    before: Side
    after: Side
    qrels: Qrels
    seed: int
    measure: str = PRIMARY_MEASURE

    @cached_property
    def values(self) -> tuple[dict[str, float], dict[str, float]]:
        """The measure by topic: before, after."""
        before, after = (
            measures.by_topic(self.qrels, side.run, [self.measure])[self.measure]
            for side in (self.before, self.after)
        )
        return before, after

    @property
    def arrays(self) -> np.ndarray:
        """`values` as float64 (2, topics)."""
        return np.array([list(values.values()) for values in self.values])

    @cached_property
    def test(self) -> significance.Comparison:
        before, after = self.arrays
        (result,) = significance.compare(after[None], before, self.seed)
        return result

    @property
    def evidence(self) -> power.Power:
        before, after = self.arrays
        (result,) = power.of((after - before)[None])
        return result

    @cached_property
    def intervals(self) -> list[significance.Interval]:
        """The means with 95 % intervals: before, after, and their difference."""
        before, after = self.arrays
        return significance.intervals(np.stack([before, after, after - before]), self.seed)

    @cached_property
    def gains(self) -> dict[str, float]:
        """The gain by topic, the largest first."""
        before, after = self.values
        order = sorted(before, key=lambda topic: before[topic] - after[topic])
        return {topic: after[topic] - before[topic] for topic in order}

    @cached_property
    def queries(self) -> dict[str, Query]:
        return beir.read_queries(COLLECTION)

    def moved(self) -> tuple[list[Topic], list[Topic]]:
        """The topics with the largest gains, and the topics with the largest losses."""
        passages = Lookup(COLLECTION, load_settings("params.yaml").data.cut)
        won = [topic for topic, gain in self.gains.items() if gain > 0][:MOVED]
        lost = [topic for topic, gain in reversed(self.gains.items()) if gain < 0][:MOVED]
        return [self._topic(t, passages) for t in won], [self._topic(t, passages) for t in lost]

    def _topic(self, query_id: str, passages: Lookup) -> Topic:
        text, grades = self.queries[query_id].text, self.qrels[query_id]
        words, hits = Words(text), dict[str, list[Hit]]()
        for side in (self.before, self.after):
            hits[side.name] = []
            for found, _ in ranking(side.run.get(query_id, {}))[:SHOWN]:
                passage = words.best(passages.of_document(found))
                relevant = is_relevant(grades.get(found))
                hits[side.name].append(Hit(passage, words.snippet(passage.text), relevant))
        before, after = self.values
        return Topic(text, words, before[query_id], after[query_id], hits)
