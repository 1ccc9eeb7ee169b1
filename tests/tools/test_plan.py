"""What a run of the graph says of itself, with stages that only pretend to run."""

import networkx as nx
import pytest

from tools import plan


class Stage:
    def __init__(self, addressing, changes):
        self.addressing, self.changes = addressing, changes

    def changed(self):
        return self.changes


class Forecast:
    """Ten minutes for each training, a minute for anything else."""

    learned: dict = {}  # noqa: RUF012

    @classmethod
    def here(cls, before=None):
        return cls()

    def seconds(self, stage):
        return 600 if stage.startswith("train") else 60

    def learn(self, stage, seconds):
        self.learned[stage] = seconds


NEEDS = {
    "prepare": [],
    "check": ["prepare"],
    "bm25_search": ["prepare"],
    "search@zero_shot": ["check"],
    "train@first": ["check"],
    "search@dense": ["train@first"],
}


@pytest.fixture
def run(monkeypatch, capsys):
    """run(changed stages, failing stage) -> the lines that it prints."""
    monkeypatch.setattr(plan, "Forecast", Forecast)
    monkeypatch.setattr(plan, "first_look", lambda: "the first look")

    def follow(changed, fails=None):
        stages = {name: Stage(name, name in changed) for name in NEEDS}
        graph = nx.DiGraph()
        graph.add_nodes_from(stages.values())
        for name, needed in NEEDS.items():
            graph.add_edges_from((stages[name], stages[need]) for need in needed)
        made, failed = plan.Plan(list(stages.values()), graph), set()
        for name, stage in stages.items():
            if failed & nx.descendants(graph, stage):
                continue
            try:
                with made.followed(stage):
                    if name == fails:
                        raise RuntimeError
                    if stage.changes:
                        for behind in graph.predecessors(stage):
                            behind.changes |= behind.addressing != "check"
            except RuntimeError:
                failed.add(stage)
        return [line for line in capsys.readouterr().out.splitlines() if line]

    return follow


def test_everything_runs(run):
    assert run(NEEDS) == [
        "stage 1 of 6: prepare; about 1 minute; about 15 minutes left in all",
        "stage 2 of 6: check; about 1 minute; about 14 minutes left in all",
        "stage 3 of 6: bm25_search; about 1 minute; about 13 minutes left in all",
        "stage 4 of 6: search@zero_shot; about 1 minute; about 12 minutes left in all",
        "the first look",
        "stage 5 of 6: train@first; about 10 minutes; about 11 minutes left in all",
        "stage 6 of 6: search@dense",
    ]
    assert Forecast.learned.keys() == NEEDS.keys()


def test_only_what_depends_on_a_change_is_announced(run):
    assert run({"train@first"}) == [
        "2 of 6 stages will run: train@first, search@dense",
        "stage 5 of 6: train@first; about 10 minutes; about 11 minutes left in all",
        "stage 6 of 6: search@dense",
    ]


def test_a_changed_gate_alone_announces_nothing_behind_it(run):
    assert run({"check"})[0] == "1 of 6 stages will run: check"


def test_what_fails_takes_its_dependents_along(run):
    lines = run(NEEDS, fails="train@first")
    assert lines[-1].startswith("stage 5 of 6: train@first")
    lines = run(NEEDS, fails="check")
    assert lines[-1] == "stage 3 of 6: bm25_search"  # nothing is left that takes long


def test_nothing_to_do_says_nothing(run):
    assert run(set()) == []
