"""The report: one file that asks for nothing, with the figures of the metrics."""

import contextlib
import json
import re

import pytest
from helpers import sh

from dpr.base.files import read_json
from dpr.evaluation import report
from dpr.records.run import Run
from tools import figure, publish, report_contents
from tools.answers import Answers
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


ROUND = "step,loss,lr,gradient_norm,temperature\n0,0.0,0.0,0.0,0.0\n"
VALIDATED = "step,loss,nDCG@10\n0,0.0,0.0\n"


@pytest.mark.parametrize("not_run", [["_second"], ["", "_second"]])
def test_figures_of_rounds_that_did_not_run(experiment, monkeypatch, tmp_path, not_run):
    """README's quick recipe has no second round, `max_steps=0` none at all."""
    for file in (experiment / "plots").glob("*.csv"):
        (tmp_path / "plots" / file.name).parent.mkdir(exist_ok=True)
        (tmp_path / "plots" / file.name).write_text(file.read_text())
    for suffix in not_run:
        (tmp_path / f"plots/train{suffix}.csv").write_text(ROUND)
        (tmp_path / f"plots/valid{suffix}.csv").write_text(VALIDATED)
    monkeypatch.chdir(tmp_path)
    drawn = figure.drawn()
    assert drawn.keys() - {"training"} == {"systems", "recall", "topics"}
    assert ("training" in drawn) == ("" not in not_run)
    if "training" in drawn:
        assert "second round" not in drawn["training"]
        assert drawn["training"].count("first round") >= 2


TRAINED = {"steps": 70, "best": {"step": 70}}
UNHELPFUL = {"steps": 70, "best": {"step": 0}}
NOT_RUN = {"steps": 0}
UNTRAINED = {"steps": 0, "best": {"step": 0}}


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (TRAINED, TRAINED, []),
        (TRAINED, NOT_RUN, []),
        (UNTRAINED, NOT_RUN, []),  # nobody has tried
        (UNHELPFUL, NOT_RUN, ["first round: no step validates better than the untrained encoder"]),
        (TRAINED, UNHELPFUL, ["second round: no step validates better than the encoder of the fi"]),
        (UNHELPFUL, UNHELPFUL, ["first round", "second round"]),
    ],
)
def test_a_training_that_did_not_help_is_named(first, second, said):
    found = report.unhelpful({"first": first, "second": second})
    assert found.count("Training did not help") == len(said)
    assert all(part in found for part in said)


@pytest.mark.slow
def test_it_is_named_wherever_the_training_is_described(experiment, tmp_path):
    """In the first round of the experiment, as its metrics then say."""
    file = experiment / "metrics/train.json"
    before = file.read_text()
    file.write_text(json.dumps(read_json(file) | UNHELPFUL))
    said = "Training did not help in the first round"
    try:
        assert said in sh(experiment, "python -m tools.report")
        for name in ("report.html", "report.md"):
            assert said in (experiment / name).read_text()
        with contextlib.chdir(experiment):
            assert said in publish.card()
            assert any(said in note for note in Answers("dense").notes)
            assert not any(said in note for note in Answers("bm25").notes)
    finally:
        file.write_text(before)


@pytest.mark.parametrize(
    ("name", "said"),
    [("medline", "test topics with human judgments"), ("beir:/mine", "judged test topics")],
)
def test_who_judged_is_said_only_if_it_is_known(name, said):
    asked = report_contents.question([], 200, name)
    assert asked == f"Does training help? 200 {said}, of {name}."
