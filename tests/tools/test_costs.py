"""Costs are those of this workspace, whoever else writes to the log."""

import json
from pathlib import Path

import pytest

from dpr.base.errors import InputError
from stages import run
from tools import costs, report_tables


@pytest.fixture
def log(tmp_path, monkeypatch):
    """log(folder, stage, seconds): a stage has run in this folder. DVC_ROOT is the main one."""
    path = tmp_path / ".scratch/costs.jsonl"
    for module in (run, costs):
        monkeypatch.setattr(module, "COSTS", path)

    def write(folder, stage, seconds):
        (tmp_path / folder).mkdir(exist_ok=True)
        with monkeypatch.context() as patched:
            patched.chdir(tmp_path / folder)
            patched.setattr(run, "processor", lambda: f"processor of {folder}")
            run.log_cost(stage, seconds)

    write("main", "train first", 1)
    write("main", "train first", 2)
    write("main", "bm25_index", 3)
    write("experiment", "train first", 40)
    monkeypatch.chdir(tmp_path / "main")
    return path


def test_the_costs_are_those_of_this_workspace(log):
    header, rows = costs.last()
    assert header == ["stage", "seconds", "peak GiB"]
    assert [row[:2] for row in rows] == [["train first", "2"], ["bm25_index", "3"]]


def test_a_line_that_a_kill_has_cut_is_no_row(log):
    with log.open("a") as file:
        file.write('{"stage": "bm25_in')
    assert [row[1] for row in costs.last()[1]] == ["2", "3"]
    run.log_cost("compare", 4)  # in the folder of the test
    assert [row[0] for row in costs.last()[1]] == ["train first", "bm25_index", "compare"]


def test_the_report_has_costs_and_processors_of_this_workspace_alone(log):
    made_with, shown = report_tables.workspace()
    assert made_with.rows == [["run on: processor of main"]]
    assert [row[1] for row in shown.rows] == ["2", "3"]


def test_a_workspace_without_costs_says_so(log, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = {"stage": "train first", "seconds": 1.0, "peak_gib": 1.0}
    log.write_text(json.dumps(row) + "\n")  # of an earlier version: no one knows where
    with pytest.raises(InputError, match="no stage has run here yet"):
        costs.last()
    (made_with,) = report_tables.workspace()
    assert made_with.rows == []


def test_forgetting_removes_finished_work_of_both_stages(tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "SCRATCH", tmp_path)
    for name in (
        "train/1/finished",
        "encode/2/finished",
        "train/3/decides.json",
        "mine/4/finished",
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    costs.main(forget=True)
    left = {path.relative_to(tmp_path) for path in tmp_path.glob("*/*/*")}
    assert left == {Path("train/3/decides.json"), Path("mine/4/finished")}
