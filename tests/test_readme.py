"""README's tree is that of the files, and its tables are those of the metrics."""

import re
import shutil

import pytest
from helpers import ROOT

from dpr.base.errors import InputError
from tools import report


def test_the_tree_is_that_of_the_files():
    text = (ROOT / "README.md").read_text().split("## What is where")[1].split("```")[1]
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


def test_the_tables_are_those_of_the_metrics(monkeypatch):
    """(`python -m tools.report --readme` writes them.)"""
    monkeypatch.chdir(ROOT)
    assert f"{report.BEGIN}\n{report.made_tables()}\n{report.END}" in report.README.read_text()


def test_the_tables_are_written_between_their_markers(monkeypatch, tmp_path):
    for name in ("params.yaml", "metrics/compare.json", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    whole = report.README.read_text()
    report.README.write_text(re.sub(r"\| dense - bm25 .*", "| another figure |", whole))
    report.main(readme=True)
    assert report.README.read_text() == whole
    report.README.write_text("no markers")
    with pytest.raises(InputError, match=r"README\.md: no <!-- made by"):
        report.main(readme=True)
