"""The report: one file that loads nothing else, with the figures of the metrics."""

import contextlib
import csv
import io
import json
import re
from statistics import fmean

import pytest
from helpers import sh

from dpr.base.files import read_json
from dpr.evaluation.markdown_tables import no_gain_notes
from dpr.records.run import Run
from tools import publish, report, report_charts
from tools.answers import Answers
from tools.compared import Compared
from tools.sides import Side


def test_the_page_is_whole(experiment, monkeypatch, capsys):
    monkeypatch.chdir(experiment)
    report.main([])
    printed = capsys.readouterr().out
    page = (experiment / "report.html").read_text()
    compared = read_json(experiment / "metrics/compare.json")
    test = compared["against"]["zero_shot"]["dense"]["nDCG@10"]
    for text in (page, (experiment / "report.md").read_text(), printed):
        assert f"{test['difference']:+.3f}" in text
        assert f"p = {test['p_holm']:.3f}" in text
        assert "figures do not match" not in text
    for system, measured in compared["systems"].items():
        label = '<td data-label="nDCG@10">(<strong>)?'
        shown = f'<th scope="row">{system}</th>{label}{measured["nDCG@10"]["mean"]:.3f} <span'
        assert re.search(shown, page)
    body = page.split("</head>")[-1]
    assert not re.findall(r"""(?:src|href)=["']?(?!#)[a-z]+:""", body)
    for target in re.findall(r'href="#([^"]+)"', body):
        assert body.count(f'id="{target}"') == 1
    written = page.split("<script>")[0] + body.split("<script>")[0]
    assert "</main>" in written
    assert not re.search(r"<(?:link|img|iframe)|@import|url\(", written)
    assert len(page) < 3_000_000
    for landmark in ("<main>", "<header>", '<nav aria-label="Sections">', "<footer"):
        assert landmark in page


def test_the_table_for_a_paper_compiles_and_the_rows_are_all(experiment, printed):
    compared = read_json(experiment / "metrics/compare.json")
    table = printed("python -m tools.report --latex")
    best = max(compared["systems"], key=lambda s: compared["systems"][s]["nDCG@10"]["mean"])
    assert f"{best.replace('_', chr(92) + '_')} & a & \\textbf{{" in table
    for command in ("toprule", "midrule", "bottomrule", "caption", "label"):
        assert f"\\{command}" in table
    assert table.count("\\\\\n") == 1 + len(compared["systems"])
    rows = list(csv.DictReader(io.StringIO(printed("python -m tools.report --csv"))))
    assert len(rows) == compared["topics"] * len(compared["systems"])
    for measure, means in compared["systems"]["dense"].items():
        values = [float(row[measure]) for row in rows if row["system"] == "dense"]
        assert fmean(values) == pytest.approx(means["mean"], abs=1e-9)


def test_a_negative_grade_is_not_relevant(experiment, monkeypatch):
    """TREC-COVID has grades of -1."""
    monkeypatch.chdir(experiment)
    before = Side("before", Run.of({"q0": {"p0-2": 1.0}}), None, None)
    after = Side("after", Run.of({"q0": {"p0-0": 2.0, "p0-1": 1.0}}), None, None)
    (won,), lost = Compared(before, after, {"q0": {"p0-0": -1, "p0-1": 1}}, 0).moved()
    shown = {hit.passage.id: hit.relevant for hits in won.hits.values() for hit in hits}
    assert shown == {"p0-0": False, "p0-1": True, "p0-2": False}
    assert not lost


def test_the_charts_are_the_plots_of_dvc(experiment, monkeypatch):
    monkeypatch.chdir(experiment)
    charts = report_charts.of_dvc()
    assert list(charts) == [
        *("systems.csv", "recall.csv", "precision.csv", "topics.csv", "compare_topics.csv"),
        *("loss", "valid.csv", "train.csv", "loss_second", "valid_second.csv", "train_second.csv"),
    ]  # the index is flat, so nothing is traded
    rows = (experiment / "plots/recall.csv").read_text().splitlines()[1:]
    assert len(charts["recall.csv"]["data"]["values"]) == len(rows)
    assert json.dumps(charts, allow_nan=False)
    title, chart = report_charts.for_page(charts["recall.csv"])
    assert (title, chart["title"]) == ("Recall against depth", None)


def test_gains_are_bars_in_order():
    chart = report_charts.gains([("heart", 0.5), ("lung", -0.25)], "AP")
    assert chart["data"]["values"] == [
        {"place": 0, "topic": "heart", "gain": 0.5},
        {"place": 1, "topic": "lung", "gain": -0.25},
    ]


@pytest.mark.slow
def test_two_sides(experiment):
    sh(experiment, "dvc exp run -q --temp --name other -S bm25.b=0.5 -S seed=3")
    printed = sh(experiment, "python -m tools.report tiny other")
    page = (experiment / "report.html").read_text()
    assert '<th scope="row">seed</th>' in page
    assert "between other and tiny: nDCG@10" in printed or "other is significantly" in printed
    assert '"rev": "other"' in page  # in its charts
    sh(experiment, "dvc exp remove other")


TRAINED = {"steps": 70, "best": {"step": 70}}
UNHELPFUL = {"steps": 70, "best": {"step": 0}}
NOT_RUN = {"steps": 0}
UNTRAINED = {"steps": 0, "best": {"step": 0}}


@pytest.mark.parametrize(
    ("first", "second", "notes"),
    [
        (TRAINED, TRAINED, []),
        (TRAINED, NOT_RUN, []),
        (UNTRAINED, NOT_RUN, []),  # nobody has tried
        (UNHELPFUL, NOT_RUN, ["first round: no step validates better than the untrained encoder"]),
        (TRAINED, UNHELPFUL, ["second round: no step validates better than the encoder of the fi"]),
        (UNHELPFUL, UNHELPFUL, ["first round", "second round"]),
    ],
)
def test_a_training_that_did_not_help_is_named(first, second, notes):
    text = no_gain_notes({"first": first, "second": second})
    assert text.count("Training did not help") == len(notes)
    assert all(note in text for note in notes)


@pytest.mark.slow
def test_it_is_named_wherever_the_training_is_described(experiment):
    """In the first round of the experiment, as its metrics then say."""
    file = experiment / "metrics/train.json"
    before = file.read_text()
    file.write_text(json.dumps(read_json(file) | UNHELPFUL))
    note = "Training did not help in the first round"
    try:
        assert note in sh(experiment, "python -m tools.report")
        for name in ("report.html", "report.md"):
            assert note in (experiment / name).read_text()
        with contextlib.chdir(experiment):
            assert note in publish.card()
            assert any(note in text for text in Answers("dense").notes)
            assert not any(note in text for text in Answers("bm25").notes)
    finally:
        file.write_text(before)
