"""Whatever prints a figure says if it is not of this code and these parameters."""

import contextlib
import re
import subprocess

import pytest
from helpers import clone_into, environment, sh

from tools import current


def call(folder, *words):
    return subprocess.run(
        ["python", "-m", *words], cwd=folder, capture_output=True, text=True, env=environment()
    )


@contextlib.contextmanager
def changed(file, before, after):
    """A file of the experiment with another text, while the block lasts."""
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))
    try:
        yield
    finally:
        file.write_text(text)


SAID = r"the figures are of earlier code or parameters \(other: train\)"
# Each with whether it goes on.
COMMANDS = {
    "tools.verify": False,
    "tools.report --readme": False,
    "tools.figure": False,
    "tools.report": True,
    "tools.report tiny workspace": True,
    "tools.diff tiny workspace": True,
    "tools.ask --k 1 heart": True,
    "tools.ceiling": True,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_other_parameters_are_said(experiment, command):
    with changed(experiment / "params.yaml", "temperature: 0.05", "temperature: 0.06"):
        done = call(experiment, *command.split())
    assert len(re.findall(SAID, done.stdout + done.stderr)) == 1, done.stderr
    assert (done.returncode == 0) == COMMANDS[command]
    if not COMMANDS[command]:
        assert done.stdout == "" and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["tools.report", "tools.ask --k 1 heart"])
def test_nothing_is_said_of_what_was_run(experiment, command):
    done = call(experiment, *command.split())
    assert done.returncode == 0
    assert "earlier" not in done.stdout + done.stderr


def test_the_page_says_it(experiment):
    """And lists as the parameters of an experiment those that made it."""
    with changed(experiment / "params.yaml", "temperature: 0.05", "temperature: 0.06"):
        call(experiment, "tools.report", "workspace", "tiny")
    page = (experiment / "report.html").read_text()
    assert re.search(SAID, page)
    of_workspace, of_tiny = re.findall(r"<summary>params.yaml of .*?</pre>", page, re.DOTALL)
    assert "temperature: 0.06" in of_workspace and "temperature: 0.05" in of_tiny
    call(experiment, "tools.report")
    assert not re.search(SAID, (experiment / "report.html").read_text())


@pytest.mark.parametrize(
    ("file", "before", "after", "stages", "name"),
    [
        ("dpr/training/loss.py", '"""', '"""Other. ', ["compare"], "dpr/training"),
        ("metrics/compare.json", "1", "2", ["compare"], "metrics/compare.json"),
        ("data/runs/test/bm25.txt", "Q0", "Q1", ["fuse"], "data/runs/test/bm25.txt"),
        ("dvc.yaml", "stages.eval", "stages.evaluate", [], "cmd of eval"),
        ("metrics/audit.json", "1", "2", [], "metrics/audit.json"),
    ],
)
def test_what_differs_is_named(experiment, monkeypatch, file, before, after, stages, name):
    monkeypatch.chdir(experiment)
    with changed(experiment / file, before, after):
        assert name in current.stale(*stages)
    assert current.stale(*stages) is None


def test_a_change_that_the_stages_do_not_depend_on_is_not_said(experiment, monkeypatch):
    monkeypatch.chdir(experiment)
    with changed(experiment / "params.yaml", "temperature: 0.05", "temperature: 0.06"):
        assert current.stale("init", "bm25_search") is None
        assert current.stale("search@dense")
        assert current.stale("compare", rev="tiny") is None  # as it was committed


def test_a_revision_with_parameters_that_were_not_run(experiment, monkeypatch, tmp_path):
    """A commit of tiny's results beside other parameters."""
    monkeypatch.chdir(experiment)
    git = f"env GIT_INDEX_FILE={tmp_path / 'index'} git -c user.name=t -c user.email=t@example.org"
    sh(experiment, f"{git} read-tree HEAD")
    with changed(experiment / "params.yaml", "temperature: 0.05", "temperature: 0.06"):
        sh(experiment, f"{git} add -u")
    tree = sh(experiment, f"{git} write-tree").strip()
    revision = sh(experiment, f"{git} commit-tree -m other {tree}").strip()
    said = current.stale("compare", rev=revision)
    assert said.startswith(f"{revision}: ") and re.search(SAID, said)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    return clone_into(tmp_path_factory.mktemp("fresh"))


@pytest.mark.parametrize("lr", ["1e-4", "9e-1"])
def test_committed_metrics_are_not_made_here(fresh, lr):
    with changed(fresh / "params.yaml", "lr: 1e-4", f"lr: {lr}"):
        done = call(fresh, "tools.verify")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("verify: nothing has been run here: `make repro`")


def test_some_stages_alone_are_not_enough(fresh):
    """As after a `make repro` that has stopped early."""
    (fresh / "data/collection").mkdir()
    assert call(fresh, "tools.verify").returncode == 1
