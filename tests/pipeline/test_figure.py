"""The figures of a paper: `python -m tools.figure`."""

import io
import re

import plotted
import pytest
from PIL import Image

from dpr.base.errors import InputError
from tools import figure, report_charts, sides


@pytest.fixture
def clone(tmp_path, monkeypatch):
    monkeypatch.setattr(sides, "stale", lambda *stages: None)  # nothing has been run there
    folder = plotted.clone(tmp_path)
    monkeypatch.chdir(folder)
    return folder


def written(folder):
    return {path.name for path in folder.rglob("*")} if folder.exists() else set()


def test_three_formats_as_wide_as_a_column(clone):
    out = clone / "paper"
    out.mkdir()
    (out / "recall.svg").write_text("an older one")
    figure.main(str(out), ["svg", "pdf", "png"])
    names = ("systems", "recall", "precision", "topics", "training")
    assert written(out) == {f"{name}.{kind}" for name in names for kind in ("svg", "pdf", "png")}
    for name in names:
        page = (out / f"{name}.pdf").read_bytes()
        assert page.startswith(b"%PDF")
        box = re.search(rb"/MediaBox ?\[([\d. ]+)\]", page)[1].split()
        assert float(box[2]) == pytest.approx(240, abs=0.5)  # points
        image = Image.open(io.BytesIO((out / f"{name}.png").read_bytes())).convert("RGB")
        assert image.width == pytest.approx(240 / 72 * 300, abs=2)
        assert image.getpixel((0, 0)) == (255, 255, 255)
        svg = (out / f"{name}.svg").read_text()
        sizes = re.findall(r'font-size="([\d.]+)px"', svg)
        width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
        assert sizes and min(map(float, sizes)) * 240 / width >= 9


def test_systems_have_colour_shape_and_dash_of_their_own(clone):
    order = plotted.add_systems(clone)
    svg = report_charts.draw(report_charts.for_paper()["recall"], "svg").decode()
    assert [text for text in re.findall(">([^<]+)</text>", svg) if text in order] == order
    lines = re.findall(r'<path aria-label=[^>]* aria-roledescription="line mark"[^>]*>', svg)
    assert len(lines) == len(order) == 10
    for look in ("stroke", "stroke-dasharray"):
        assert len({(re.findall(f' {look}="([^"]*)"', line) or [""])[0] for line in lines}) == 10
    drawn = {re.search('system: ([^;"]+)', line)[1]: line for line in lines}
    assert 'stroke="#7f7f7f"' in drawn["bm25"] and 'stroke="#0072b2"' in drawn["dense"]


@pytest.mark.parametrize(("suffixes", "rows"), [(["_second"], 1), (["", "_second"], 0)])
def test_a_round_that_did_not_run_has_no_panel(clone, suffixes, rows):
    plotted.not_run(clone, *suffixes)
    charts = report_charts.for_paper()
    assert ("training" in charts) == bool(rows)
    if rows:
        (row,) = charts["training"]["vconcat"]
        assert (row["title"], len(row["hconcat"])) == ("first round", 2)


def test_what_has_no_data_is_no_figure(clone):
    plotted.not_run(clone, "", "_second")
    same = [line.rsplit(",", 1)[0] for line in (clone / "plots/topics.csv").read_text().split("\n")]
    rows = [f"{line},{line.rsplit(',', 1)[1]}" for line in same[1:] if line]
    (clone / "plots/topics.csv").write_text("\n".join(["topic,query,zero_shot,dense", *rows, ""]))
    with pytest.raises(InputError, match=r"--only: topics, training: no data .* systems, recall"):
        figure.main("paper", ["svg"], ["topics", "systems", "training"])
    assert not written(clone / "paper")
    figure.main("paper", ["svg"])
    assert written(clone / "paper") == {"systems.svg", "recall.svg", "precision.svg"}


@pytest.mark.parametrize(
    ("formats", "only", "message"),
    [
        (["svg", "eps"], [], "--format: 'eps': choose from svg, pdf, png"),
        (["svg"], ["systems", "speed"], "--only: 'speed': choose from systems, recall"),
        (["svg"], [], "figures do not match"),
    ],
)
def test_nothing_is_written_if_something_is_wrong(clone, monkeypatch, formats, only, message):
    monkeypatch.setattr(sides, "stale", lambda *stages: "the figures do not match")
    with pytest.raises(InputError, match=message):
        figure.main("paper", formats, only)
    assert not written(clone / "paper")
