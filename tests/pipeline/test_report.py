"""The report: one file that asks for nothing, with the figures of the metrics."""

import contextlib
import json
import re

import pytest
from helpers import sh

from dpr.base.files import read_json
from dpr.records.run import Run
from tools.report_page import Compared
from tools.sides import Side


def test_the_page_is_whole(experiment):
    printed = sh(experiment, "python -m tools.report")
    page = (experiment / "report.html").read_text()
    compared = read_json(experiment / "metrics/compare.json")
    tested = compared["against"]["zero_shot"]["dense"]["nDCG@10"]
    for text in (page, (experiment / "report.md").read_text(), printed):
        assert f"{tested['difference']:+.3f}" in text
        assert f"p = {tested['p_randomization']:.4f}" in text
    for system, measured in compared["systems"].items():
        assert f'<th scope="row">{system}</th><td>{measured["nDCG@10"]["mean"]:.3f}' in page
    assert not re.findall(r"""(?:src|href)=["']?(?!#)[a-z]+:""", page.split("</head>")[-1])
    written = page.split("<script>")[0] + page.split("</head>")[-1].split("<script>")[0]
    assert "</main>" in written
    assert not re.search(r"<(?:link|img|iframe)|@import|url\(", written)
    assert len(page) < 3_000_000
    for landmark in ("<main>", "<header>", '<nav aria-label="Sections">', "<footer"):
        assert landmark in page


def test_a_negative_grade_is_not_relevant(experiment, monkeypatch):
    """TREC-COVID has grades of -1."""
    monkeypatch.chdir(experiment)
    before = Side("before", Run.of({"q0": {"p0-2": 1.0}}), None, None)
    after = Side("after", Run.of({"q0": {"p0-0": 2.0, "p0-1": 1.0}}), None, None)
    (won,) = Compared(before, after, {"q0": {"p0-0": -1, "p0-1": 1}}, 0).moved()["won"]
    shown = {one.passage.id: one.relevant for found in won.found.values() for one in found}
    assert shown == {"p0-0": False, "p0-1": True, "p0-2": False}


def test_charts_have_the_rows_of_the_plots(experiment):
    with contextlib.chdir(experiment):
        from tools import report_charts

        chart = report_charts.recall()
        rows = (experiment / "plots/recall.csv").read_text().splitlines()[1:]
    assert len(chart["data"]["values"]) == len(rows)
    assert json.dumps(chart, allow_nan=False)


@pytest.mark.slow
def test_two_sides(experiment):
    sh(experiment, "dvc exp run -q --temp --name other -S bm25.b=0.5 -S seed=3")
    printed = sh(experiment, "python -m tools.report tiny other")
    page = (experiment / "report.html").read_text()
    assert '<th scope="row">seed</th>' in page
    assert "other has" in printed
    sh(experiment, "dvc exp remove other")
