"""The report as one page that opens anywhere, and as Markdown for a pull request.

What is compared are two runs: of the encoder before and after training, or of two experiments.
"""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from dpr import measures
from dpr.base.errors import InputError
from dpr.base.files import new_file
from dpr.evaluation import significance
from dpr.evaluation.report import ALPHA
from dpr.measures import HEADLINE
from dpr.records import beir
from dpr.records.run import ranking
from dpr.records.types import Passage, Qrels, is_relevant
from tools.highlight import Words
from tools.lookup import Lookup
from tools.sides import Side

PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "pages"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
VEGA = Path(".dvc/plots.html")
MOVED, SHOWN = 10, 3  # topics that won or lost most, and the first passages of each


@dataclass(frozen=True)
class Found:
    """A passage in a run."""

    passage: Passage
    snippet: str
    relevant: bool  # by judgment


@dataclass(frozen=True)
class Topic:
    """A topic, its value on both sides, and the first passages of both."""

    text: str
    before: float
    after: float
    found: dict[str, list[Found]]

    @property
    def gain(self) -> float:
        return self.after - self.before

    @property
    def words(self) -> Words:
        return Words(self.text)


@dataclass(frozen=True)
class Compared:
    """Two sides over the same topics."""

    before: Side
    after: Side
    qrels: Qrels
    seed: int

    @cached_property
    def values(self) -> dict[str, dict[str, float]]:
        """{name of the side: {topic: nDCG@10}}"""
        return {
            side.name: measures.by_topic(self.qrels, side.run, [HEADLINE])[HEADLINE]
            for side in (self.before, self.after)
        }

    @cached_property
    def test(self) -> significance.Comparison:
        (found,) = significance.compare(
            self._array(self.after)[None], self._array(self.before), self.seed
        )
        return found

    def interval(self, side: Side) -> significance.Interval:
        (found,) = significance.intervals(self._array(side)[None], self.seed)
        return found

    @cached_property
    def gain(self) -> significance.Interval:
        """Of the difference."""
        differences = self._array(self.after) - self._array(self.before)
        (found,) = significance.intervals(differences[None], self.seed)
        return found

    @property
    def significant(self) -> bool:
        return self.test.p_randomization < ALPHA

    def gains(self) -> list[dict[str, Any]]:
        """Topics by their gain, the greatest first."""
        queries = beir.read_queries("data/collection")
        before, after = self.values[self.before.name], self.values[self.after.name]
        order = sorted(before, key=lambda topic: before[topic] - after[topic])
        return [
            {"place": place, "topic": queries[topic].text, "gain": after[topic] - before[topic]}
            for place, topic in enumerate(order, 1)
        ]

    def moved(self) -> dict[str, list[Topic]]:
        """The topics that won and that lost most."""
        queries, passages = beir.read_queries("data/collection"), Lookup(Path("data/collection"))
        before, after = self.values[self.before.name], self.values[self.after.name]

        def topic(query_id: str) -> Topic:
            text, grades = queries[query_id].text, self.qrels[query_id]
            words, found = Words(text), {}
            for side in (self.before, self.after):
                first = [p for p, _ in ranking(side.run.get(query_id, {}))][:SHOWN]
                found[side.name] = [
                    Found(passages[p], words.snippet(passages[p].text), is_relevant(grades.get(p)))
                    for p in first
                ]
            return Topic(text, before[query_id], after[query_id], found)

        order = sorted(before, key=lambda t: before[t] - after[t])
        won = [t for t in order if after[t] > before[t]][:MOVED]
        lost = [t for t in reversed(order) if after[t] < before[t]][:MOVED]
        return {"won": [topic(t) for t in won], "lost": [topic(t) for t in lost]}

    def _array(self, side: Side) -> np.ndarray:
        return np.array(list(self.values[side.name].values()))


def vega() -> str:
    """The scripts of Vega, as in the page of `dvc plots show`."""
    if not VEGA.exists():
        raise InputError(f"{VEGA}: not here; git restore {VEGA}")
    return "\n".join(re.findall(r"<script>\n/\* .*?</script>", VEGA.read_text("utf-8"), re.DOTALL))


def write(path: Path, template: str, about: dict[str, Any]) -> None:
    """The page, or the Markdown, that the template makes of what is known."""
    with new_file(path) as file:
        file.write(PAGES.get_template(template).render(**about))


def chart(spec: dict[str, Any]) -> str:
    """A Vega-Lite chart as JSON that can stand in a page."""
    return json.dumps(spec, ensure_ascii=False).replace("<", "\\u003c")
