"""README and docs show what is there: files, stages, figures."""

import ast
import json
import re
import shutil
from itertools import pairwise

import pytest
from graph_helpers import STEPS, deps, outs
from helpers import ROOT

from dpr.base.errors import InputError
from dpr.records.types import SYSTEMS
from tools import report, report_charts

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "benchmarks|docs|dpr|plots|stages|tests|tools"


def test_the_code_page_lists_every_stage_and_package():
    text = (ROOT / "docs/code.md").read_text()
    assert {name for name, _ in STEPS} == set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    packages = re.findall(r"^\| `dpr/(\w+)(?:/|\.py)` \|", text, re.MULTILINE)
    there = {path.stem for path in (ROOT / "dpr").iterdir() if not path.name.startswith("__")}
    assert set(packages) == there


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_path_and_link_of_a_page_exists(page):
    text = page.read_text()
    paths = set(re.findall(rf"`((?:{FOLDERS})/[\w./]+\.(?:py|json|md))`", text))
    assert not {path for path in paths if not (ROOT / path).exists()}
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


def test_no_page_has_a_placeholder():
    for page in PAGES:
        assert not re.findall(r"^[A-Z]{3,}$", page.read_text(), re.MULTILINE), page


def test_every_message_of_the_troubleshooting_page_is_in_the_code():
    sources = [path for top in ("dpr", "stages", "tools") for path in (ROOT / top).rglob("*.py")]
    texts = [text for path in sources for text in strings(ast.parse(path.read_text()))]
    rows = re.findall(
        r"^\| (`.*?) \|", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE
    )
    ours = [row for row in rows if not re.search(r"\(of (DVC|pip)\)", row)]
    quoted = [quote for row in ours for quote in re.findall("`(.+?)`", row)]
    assert len(quoted) > 15
    for quote in quoted:
        words = ".*".join(re.escape(part) for part in quote.split("…"))
        assert any(re.search(words, text, re.DOTALL) for text in texts), quote


def strings(tree):
    """Every string of a module; an f-string without its values."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value for part in node.values if isinstance(part, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def anchors(page):
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


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
    joined = set(edges)
    while more := {(a, d) for a, b in joined for c, d in joined if b == c} - joined:
        joined |= more
    return joined


def test_the_figures_are_those_of_the_plots(monkeypatch):
    """(`python -m tools.report --readme` draws them.)"""
    monkeypatch.chdir(ROOT)
    for name, drawn in report_charts.figures().items():
        # Numbers by their first digits: the last ones depend on the processor's C library.
        committed = (report.FIGURES / f"{name}.svg").read_text()
        assert shortened(committed) == shortened(drawn), name


def shortened(svg):
    return re.sub(r"(\.\d{2})\d+", r"\1", svg)


def test_a_system_has_the_same_colour_in_every_chart():
    """And up to ten systems have one each."""
    templates = [json.loads(path.read_text()) for path in (ROOT / ".dvc/plots").glob("*.json")]
    encodings = [encoding for template in templates for encoding in encodings_of(template)]
    for name, count in (("color", 3), ("shape", 2)):
        channels = [encoding[name] for encoding in encodings if encoding.get(name)]
        scales = [channel["scale"] for channel in channels if channel["field"] == "system"]
        assert len(scales) == count and scales == [scales[0]] * count
        assert set(scales[0]["domain"]["unionWith"]) == set(SYSTEMS) - {"reranked"}
        assert len(set(scales[0]["range"])) == 10


def encodings_of(part):
    if isinstance(part, list | dict):
        inner = part.values() if isinstance(part, dict) else part
        yield from ([part["encoding"]] if "encoding" in part else [])
        for value in inner:
            yield from encodings_of(value)


def test_the_tables_are_those_of_the_metrics(monkeypatch):
    """(`python -m tools.report --readme` writes them.)"""
    monkeypatch.chdir(ROOT)
    assert report.readme_block() in report.README.read_text()


def test_the_tables_are_written_between_their_markers(monkeypatch, tmp_path):
    shutil.copytree(ROOT / "metrics", tmp_path / "metrics")
    (tmp_path / "data").mkdir()
    for name in ("params.yaml", "data/manifest.json", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(report.sides, "stale", lambda *stages: None)
    monkeypatch.setattr(report.report_charts, "figures", dict)
    monkeypatch.chdir(tmp_path)
    whole = report.README.read_text()
    report.README.write_text(re.sub(r"\| a \| hybrid .*", "| a changed figure |", whole))
    report.write_readme()
    assert report.README.read_text() == whole
    report.README.write_text("no markers")
    with pytest.raises(InputError, match=r"README\.md: no <!-- made by"):
        report.write_readme()
