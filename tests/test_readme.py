"""README and docs show what is there: files, stages, figures."""

import json
import re
import shutil
from itertools import pairwise

import pytest
from graph_helpers import STEPS, deps, outs
from helpers import ROOT

from dpr.base.errors import InputError
from tools import figure, parameters, report
from tools.report_charts import COLOURS


def test_the_tree_is_that_of_the_files():
    text = (ROOT / "docs/code.md").read_text().split("## What is where")[1].split("```")[1]
    lines = text.split("dpr/\n")[1].split("tests/")[0].splitlines()
    named, package = set(), ""
    for line in lines:
        indent, name = re.match(r"( +)(\S+)", line).groups()
        if name.endswith("/"):
            package = name
        else:
            named.add(name if len(indent) == 2 else package + name)
    files = {str(path.relative_to(ROOT / "dpr")) for path in (ROOT / "dpr").rglob("*.py")}
    assert named == {file for file in files if not file.endswith("__init__.py")}


def test_the_graph_is_that_of_dvc():
    """An arrow is a dependency; a dependency is an arrow or a path of arrows."""
    text = re.search(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    chains = [line.strip().split(" --> ") for line in text.splitlines() if "-->" in line]
    drawn = {edge for chain in chains for edge in pairwise(chain)}
    real = {
        (maker, name)
        for name, key in STEPS
        for maker, other in STEPS
        if any(dep.startswith(tuple(outs(maker, other))) for dep in deps(name, key))
        and (key, other) != ("second", "first")  # drawn once for both rounds
    }
    assert drawn <= real
    assert real <= paths(drawn)


def paths(edges):
    """All pairs that a path of edges joins."""
    found = set(edges)
    while more := {(a, d) for a, b in found for c, d in found if b == c} - found:
        found |= more
    return found


def test_the_parameters_are_those_of_the_settings(monkeypatch):
    """(`python -m tools.parameters` writes them.)"""
    monkeypatch.chdir(ROOT)
    assert parameters.PAGE.read_text() == parameters.page()


def test_the_figures_are_those_of_the_plots(monkeypatch):
    """(`python -m tools.figure` draws them.)"""
    monkeypatch.chdir(ROOT)
    for name, drawn in figure.drawn().items():
        # Numbers by their first digits: the last ones depend on the processor's C library.
        assert shortened((figure.FOLDER / f"{name}.svg").read_text()) == shortened(drawn), name


def shortened(svg):
    return re.sub(r"(\.\d{2})\d+", r"\1", svg)


def test_a_system_has_the_same_colour_in_the_plots_of_dvc():
    for path in (ROOT / ".dvc/plots").glob("*.json"):
        template = path.read_text()
        if '"system"' in template:
            systems, colours = (json.dumps(list(of)) for of in zip(*COLOURS.items(), strict=True))
            assert f'"domain": {systems}' in template and f'"range": {colours}' in template, path


def test_the_tables_are_those_of_the_metrics(monkeypatch):
    """(`python -m tools.report --readme` writes them.)"""
    monkeypatch.chdir(ROOT)
    assert f"{report.BEGIN}\n{report.made_tables()}\n{report.END}" in report.README.read_text()


def test_the_tables_are_written_between_their_markers(monkeypatch, tmp_path):
    for name in ("params.yaml", "metrics/compare.json", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(report.current, "stale", lambda *stages: None)
    monkeypatch.chdir(tmp_path)
    whole = report.README.read_text()
    report.README.write_text(re.sub(r"\| dense - bm25 .*", "| another figure |", whole))
    report.main(readme=True)
    assert report.README.read_text() == whole
    report.README.write_text("no markers")
    with pytest.raises(InputError, match=r"README\.md: no <!-- made by"):
        report.main(readme=True)
