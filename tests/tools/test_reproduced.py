"""docs/reproduced.md: of expected.yaml, with published figures, and with commands that load."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from helpers import ROOT
from ruamel.yaml import YAML

from tools import reproduced, suite, verify

EXPECTED = YAML(typ="safe", pure=True).load(ROOT / "expected.yaml")
PUBLISHED = [name for name, rows in EXPECTED.items() if rows.get("published")]
OWN = {"medline", "cacm"}
PAGE = (ROOT / "docs/reproduced.md").read_text()


def test_the_page_is_that_of_expected_yaml(monkeypatch):
    """(`python -m tools.reproduced` writes it.)"""
    monkeypatch.chdir(ROOT)
    assert reproduced.page() == PAGE


def test_every_figure_has_its_row():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines()]
    rows = {(row[-1], row[1]): row for row in rows if len(row) == len(reproduced.HEADER)}
    for name, expected in EXPECTED.items():
        collection, model = name.split("/")[0], expected.get("set", {}).get("model.name", "")
        words = "" if name == "medline" else f" beir:/PATH/{collection} {name}"
        for system, figures in expected["systems"].items():
            row = rows.pop((f"`python -m tools.verify{words}`", system))
            value = f"{figures['nDCG@10']:.4f}"
            here = f"{figures['here']:.4f}" if "here" in figures else "not run here"
            assert row[3:5] == ([here, value] if name in PUBLISHED else [value, ""])
            assert row[2] in model or model == ""
    assert EXPECTED.keys() - PUBLISHED == OWN
    assert {row[0] for row in rows.values()} == {"collection", "-" * 12}  # header and line


def test_a_figure_found_here_stands_beside_the_published_one(monkeypatch):
    figures = {"nDCG@10": 0.6789, "within": 0.002, "here": 0.6801}
    rows = {"source": "a book", "published": True, "systems": {"bm25": figures}}
    monkeypatch.setattr(verify, "expected", lambda: {"scifact/bm25": rows})
    monkeypatch.chdir(ROOT)
    assert re.search(r"\| scifact +\| bm25 +\| +\| 0\.6801 \| 0\.6789 +\|", reproduced.page())
    assert len(verify.check(rows["systems"], {"bm25": {"nDCG@10": {"mean": 0.68}}})) == 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_command_of_a_published_row_loads(name, monkeypatch, capsys):
    """The experiment itself is not run."""
    (command,) = set(re.findall(rf"`(python -m tools\.verify \S+ {re.escape(name)})`", PAGE))
    found = {}

    def results(collection, changes):
        settings = found["settings"] = suite.changed({"data.collection": collection} | changes)
        (system,) = EXPECTED[name]["systems"]
        assert system == "bm25" or settings.encode.precision == "fp32"
        return {"systems": {system: {"nDCG@10": {"mean": 0.0}}}}

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(verify.suite, "results", results)
    assert not verify.main(*shlex.split(command)[3:])
    assert "FAIL" in capsys.readouterr().out
    settings = found["settings"]
    assert settings.data.collection == f"beir:/PATH/{name.partition('/')[0]}"
    assert settings.train.max_steps == 0 and settings.data.separator == " "
    if "bge" in name:
        words = "Represent this sentence for searching relevant passages: "
        assert settings.model.query_prefix == ("" if "arguana" in name else words)
    if "contriever" in name:
        assert (settings.similarity, settings.model.pooling) == ("dot", "mean")


def of_pyserini():
    """{(condition, collection): nDCG@10} of the reproduction matrix in pyserini's package."""
    package = Path(importlib.util.find_spec("pyserini").origin).parent
    matrix = YAML(typ="safe", pure=True).load(package / "2cr/beir.yaml")
    return {
        (condition["name"], row["dataset"]): row["scores"][0]["nDCG@10"]
        for condition in matrix["conditions"]
        for row in condition["datasets"]
    }


def test_the_rows_of_pyserini_are_those_of_its_package():
    published, checked = of_pyserini(), 0
    for name in PUBLISHED:
        rows = EXPECTED[name]
        if rows["source"].startswith("pyserini"):
            condition = rows["source"].rpartition(" ")[2]
            (figures,) = rows["systems"].values()
            assert figures["nDCG@10"] == published[condition, name.partition("/")[0]], name
            checked += 1
    assert checked == 15
