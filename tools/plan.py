"""Which stages a run of the graph will run, and how far it is: lines between DVC's own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dvc.stage import Stage
from networkx import DiGraph, ancestors

from dpr.evaluation.markdown_tables import table
from dpr.measures import PRIMARY_MEASURE, mean_primary_measure
from dpr.records import beir
from dpr.runs.fusion import DENSE_AND_BM25, Fusion
from dpr.runs.trec import read_run
from dpr.settings import load_settings
from tools.forecast import Forecast, Machine, in_words

LONG = ("encode", "mine", "train", "vectors")
DECIDING = ("init", "lengths", "prepare")  # their outputs decide the work of the rest
GATE = "check"  # its outputs seldom change, so the stages behind it seldom run for it alone
UNTRAINED = ("bm25_search", "search@zero_shot")
TRAINING = "train@first"
NAMES = 8  # stages to name in a line


class Plan:
    """The stages of a run, in DVC's order.

    Args:
        stages: all stages of the run, those that have not changed, too.
        graph: of the stages, each with edges to the stages that it needs.
    """

    def __init__(self, stages: list[Stage], graph: DiGraph) -> None:
        self.names = [stage.addressing for stage in stages]
        self.stages, self.graph = stages, graph
        self.announced = False
        self.left: list[str] = []  # that will run, as far as known
        self.there: set[str] = set()  # whose outputs are of this run, or had not changed
        self.machine: Machine | None = None
        self.forecast: Forecast | None = None
        self.known = False  # whether the forecast was made from the outputs of now

    def announce(self) -> None:
        """Print which stages will run, and how long they take. DVC's lock must be held."""
        self.announced, self.left, count = True, self._changed(), len(self.names)
        if not self.left:
            return
        which = "all" if len(self.left) == count else f"{len(self.left)} of"
        shown = self.left[:NAMES] + ["..."] * (len(self.left) > NAMES)
        named = f": {', '.join(shown)}" if len(self.left) < count else ""
        seconds = self._seconds(self.left)
        time_here = f", {in_words(sum(seconds.values()))} here" if seconds else ""
        print(f"{which} {count} stages will run{time_here}{named}", flush=True)

    @contextmanager
    def followed(self, stage: Stage) -> Iterator[None]:
        """Say what is left before a stage runs; afterwards, learn from its time."""
        name = stage.addressing
        if not self.announced:
            self.announce()
        runs = stage.changed()
        if runs:
            self._say(name)
        started = time.monotonic()
        try:
            yield
        except BaseException:
            self._forget({stage} | ancestors(self.graph, stage))
            raise
        self._forget({stage})
        self.there.add(name)
        with suppress(Exception):  # a stage that has run must not fail here
            if runs:
                self._learn(name, time.monotonic() - started)

    def _learn(self, name: str, seconds: float) -> None:
        if name in DECIDING:
            self.known = False
        if self.forecast:
            self.forecast.learn(name, seconds)
        if name in UNTRAINED and self.there.issuperset(UNTRAINED) and TRAINING in self.left:
            first_look()

    def _forget(self, done: set[Stage]) -> None:
        """Stages that have run, or cannot run any more."""
        names = {stage.addressing for stage in done}
        self.left = [name for name in self.left if name not in names]

    def _changed(self) -> list[str]:
        """The stages that have changed, and those that need their outputs."""
        found: dict[Stage, bool] = {}
        for stage in self.stages:
            needs = [before for before in self.graph.successors(stage) if found.get(before)]
            behind = any(before.addressing != GATE for before in needs)
            found[stage] = behind or stage.changed()
        return [stage.addressing for stage in self.stages if found[stage]]

    def _say(self, name: str) -> None:
        line = f"stage {self.names.index(name) + 1} of {len(self.names)}: {name}"
        if seconds := self._seconds([name, *self.left]):
            line += f", {in_words(seconds[name])}; {in_words(sum(seconds.values()))} left in all"
        print(f"\n{line}", flush=True)

    def _seconds(self, stages: list[str]) -> dict[str, float]:
        """{stage: seconds}; empty if unknown, or if none of them takes long."""
        if not any(stage.partition("@")[0] in LONG for stage in stages):
            return {}
        try:
            if not self.known:
                self.known = True  # even if it fails: each new try would take seconds
                self.machine = self.machine or Machine.here()
                self.forecast = Forecast.here(self.machine, initialized="init" not in stages)
            return {s: self.forecast.seconds(s) for s in stages} if self.forecast else {}
        except Exception:  # such as wrong settings: the stage itself says so, and better
            return {}


def first_look() -> None:
    """Print the measures of BM25, the untrained encoder and their fusion, if a training follows."""
    settings, qrels = load_settings("params.yaml"), beir.read_qrels("data/collection", "test")
    if not (qrels and settings.trains("first")):
        return
    runs = {name: read_run(f"data/runs/test/{name}.txt") for name in ("bm25", "zero_shot")}
    fusion = Fusion.of(runs["zero_shot"], runs["bm25"], minima=DENSE_AND_BM25)
    runs["both, by rrf"] = fusion.reciprocal_rank(settings.fuse.rrf_k, settings.search.top_k)
    rows = [[name, f"{mean_primary_measure(qrels, run):.4f}"] for name, run in runs.items()]
    print(f"\nBefore the training, {len(qrels)} test topics:\n")
    print(table(["system", PRIMARY_MEASURE], rows))
    print("\nAsk while it trains, in a second terminal:")
    print("source .venv/bin/activate")
    print('python -m tools.ask --system zero_shot "your question"', flush=True)
