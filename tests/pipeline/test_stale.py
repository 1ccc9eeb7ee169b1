"""Every tool that prints a figure says if the figure does not match code and parameters."""

import contextlib
import re
from functools import partial
from types import SimpleNamespace

import pytest
from helpers import call, clone_into, sh

from dpr.base.errors import InputError
from tools import ask, ceiling, diff, overlap, publish, report, row, sides, verify

NOTE = r"the figures do not match code and parameters \(changed: train\)"


@contextlib.contextmanager
def changed(file, before="temperature: 0.05", after="temperature: 0.06"):
    """A file of the experiment with a different text, while the block lasts."""
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))
    try:
        yield
    finally:
        file.write_text(text)


OPTIONS = {"split": "test", "system": "dense", "measure": "nDCG@10", "top": 1, "common": False}
REFUSING = {
    "verify": lambda: verify.main(None, None),
    **{f"report --{option}": partial(report.current, option) for option in report.OPTIONS},
    "row": lambda: row.main(None, "ada", "HEAD"),
    "publish": lambda: publish.main(report.Path("new folder"), None),
}
WARNING = {
    "report": lambda: report.main([]),
    "ask": lambda: ask.main("heart", "dense", 1, False),
    "diff": lambda: diff.main(SimpleNamespace(before="tiny", after="workspace", **OPTIONS)),
    "ceiling": lambda: ceiling.main("test"),
    "overlap": overlap.main,
}


@pytest.fixture
def stale(experiment, monkeypatch):
    """As if DVC said so of the workspace, which takes it a second."""
    monkeypatch.chdir(experiment)
    monkeypatch.setattr(sides, "_changes", lambda stages, rev: [] if rev else ["train"])


@pytest.mark.parametrize("tool", REFUSING)
def test_a_tool_refuses_stale_figures(stale, capsys, tool):
    with pytest.raises(InputError, match=NOTE):
        REFUSING[tool]()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("tool", WARNING)
def test_a_tool_warns_of_stale_figures_once(stale, capsys, tool):
    WARNING[tool]()
    printed = capsys.readouterr()
    assert len(re.findall(NOTE, printed.out + printed.err)) == 1


def test_a_command_refuses_in_one_line(experiment):
    with changed(experiment / "params.yaml"):
        done = call(experiment, "python -m tools.verify")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f"verify: this workspace: {NOTE}.*\n", done.stderr)


def test_the_page_has_the_parameters_of_each_side(experiment, monkeypatch):
    monkeypatch.chdir(experiment)
    monkeypatch.setattr(report.report_charts, "of_dvc", lambda names: {})  # a process of DVC
    with changed(experiment / "params.yaml"):
        report.main(["workspace", "tiny"])
    page = (experiment / "report.html").read_text()
    assert re.search(NOTE, page)
    of_workspace, of_tiny = re.findall(r"<summary>params.yaml of .*?</pre>", page, re.DOTALL)
    assert "temperature: 0.06" in of_workspace and "temperature: 0.05" in of_tiny


def test_what_differs_is_named(experiment, monkeypatch):
    monkeypatch.chdir(experiment)
    with (
        changed(experiment / "dpr/training/loss.py", '"""', '"""Other. '),
        changed(experiment / "metrics/compare.json", "1", "2"),
        changed(experiment / "data/runs/test/bm25.txt", "Q0", "Q1"),
        changed(experiment / "dvc.yaml", "stages.eval", "stages.evaluate"),
    ):
        note = sides.stale()
        assert "metrics/compare.json" not in sides.stale("fuse")
    for name in ("dpr/training", "metrics/compare.json", "data/runs/test/bm25.txt", "cmd of eval"):
        assert name in note


def test_a_change_that_the_stages_do_not_depend_on_is_not_named(experiment, monkeypatch):
    monkeypatch.chdir(experiment)
    with changed(experiment / "params.yaml"):
        assert sides.stale("init", "bm25_search") is None
        assert sides.stale("search@dense")
        assert sides.stale("compare", side="tiny") is None  # as it was committed


def test_a_revision_with_parameters_that_were_not_run(experiment, monkeypatch, tmp_path):
    """A commit of tiny's results with different parameters."""
    monkeypatch.chdir(experiment)
    git = f"env GIT_INDEX_FILE={tmp_path / 'index'} git -c user.name=t -c user.email=t@example.org"
    sh(experiment, f"{git} read-tree HEAD")
    with changed(experiment / "params.yaml"):
        sh(experiment, f"{git} add -u")
    tree = sh(experiment, f"{git} write-tree").strip()
    revision = sh(experiment, f"{git} commit-tree -m other {tree}").strip()
    note = sides.stale("compare", side=revision)
    assert note.startswith(f"{revision}: ") and re.search(NOTE, note)


def test_committed_metrics_were_not_made_here(tmp_path, monkeypatch):
    monkeypatch.chdir(clone_into(tmp_path))
    with pytest.raises(InputError, match=r"^nothing has been run here: `make repro`"):
        verify.main(None, None)
    (tmp_path / "data/collection").mkdir()  # as after a `make repro` that stopped early
    with pytest.raises(InputError, match="do not match code and parameters"):
        verify.main(None, None)
