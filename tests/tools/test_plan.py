"""What a run of the graph says of itself, with stages that only pretend to run."""

from types import SimpleNamespace

import networkx as nx
import pytest
from helpers import HEADER, write_params

from dpr.runs.trec import write_run
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
    def here(cls, machine, initialized):
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
    monkeypatch.setattr(plan, "Machine", SimpleNamespace(here=dict))
    monkeypatch.setattr(plan, "first_look", lambda: print("the first look"))

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
        "all 6 stages will run, about 15 minutes here",
        "stage 1 of 6: prepare, about 1 minute; about 15 minutes left in all",
        "stage 2 of 6: check, about 1 minute; about 14 minutes left in all",
        "stage 3 of 6: bm25_search, about 1 minute; about 13 minutes left in all",
        "stage 4 of 6: search@zero_shot, about 1 minute; about 12 minutes left in all",
        "the first look",
        "stage 5 of 6: train@first, about 10 minutes; about 11 minutes left in all",
        "stage 6 of 6: search@dense",
    ]
    assert Forecast.learned.keys() == NEEDS.keys()


def test_only_what_depends_on_a_change_is_announced(run):
    assert run({"train@first"}) == [
        "2 of 6 stages will run, about 11 minutes here: train@first, search@dense",
        "stage 5 of 6: train@first, about 10 minutes; about 11 minutes left in all",
        "stage 6 of 6: search@dense",
    ]


def test_a_changed_gate_alone_announces_nothing_behind_it(run):
    assert run({"check"})[0] == "1 of 6 stages will run: check"


def test_what_fails_takes_its_dependents_along(run):
    lines = run(NEEDS, fails="train@first")
    assert lines[-1].startswith("stage 5 of 6: train@first")
    lines = run(NEEDS, fails="check")
    assert lines[-1] == "stage 3 of 6: bm25_search"  # nothing is left that takes long


@pytest.mark.parametrize(("changed", "fails"), [(NEEDS, "bm25_search"), ({"prepare"}, "check")])
def test_without_both_systems_there_is_no_first_look(run, changed, fails):
    assert "the first look" not in run(changed, fails=fails)


def test_a_first_look_that_fails_stops_no_stage(run, monkeypatch):
    monkeypatch.setattr(plan, "first_look", lambda: 1 / 0)
    assert run(NEEDS)[-1] == "stage 6 of 6: search@dense"


def test_nothing_to_do_says_nothing(run):
    assert run(set()) == []


def test_a_forecast_that_fails_stops_no_stage(run, monkeypatch):
    monkeypatch.setattr(Forecast, "here", lambda machine, initialized: 1 / 0)
    assert run(NEEDS)[1] == "stage 1 of 6: prepare"


@pytest.mark.parametrize(
    ("changes", "printed"), [({}, True), ({"train.max_steps": 0}, False), ({"no": "qrels"}, False)]
)
def test_the_first_look(collection, tmp_path, monkeypatch, capsys, changes, printed):
    """Three topics. bm25 finds the relevant passages of one of them, zero_shot of all."""
    (tmp_path / "data/runs/test").mkdir(parents=True)
    collection.rename(tmp_path / "data/collection")
    monkeypatch.chdir(tmp_path)
    if changes.pop("no", None):
        (tmp_path / "data/collection/qrels/test.tsv").write_bytes(HEADER)
    write_params(tmp_path / "params.yaml", changes)
    found = {f"q{n}": {f"d{n + 12 * i:02}": 5.0 - i for i in range(5)} for n in (9, 10, 11)}
    for system, run in (("bm25", {"q9": found["q9"]}), ("zero_shot", found)):
        write_run(tmp_path / f"data/runs/test/{system}.txt", run, tag=system)
    plan.first_look()
    lines = capsys.readouterr().out.splitlines()
    rows = {
        cells[1].strip(): cells[2].strip() for line in lines if len(cells := line.split("|")) > 2
    }
    if printed:
        assert (rows["bm25"], rows["zero_shot"], rows["both, by rrf"]) == (
            "0.3333",
            "1.0000",
            "1.0000",
        )
    else:
        assert not lines
