"""The pages in Chromium: drawn, without a network, without a complaint."""

import asyncio
import contextlib
import threading
from http.server import HTTPServer

import browser
import plotted
import pytest
from helpers import sh

from dpr.records import beir
from tools import ask_page, report_charts

pytestmark = pytest.mark.skipif(browser.PROGRAM is None, reason="no Chromium here")
DRAWN = "document.querySelectorAll('svg.marks, canvas.marks').length"
TITLES = "[...document.querySelectorAll('h2')].map(title => title.textContent)"
TEXTS = "[...document.querySelectorAll('svg text')].map(text => text.textContent)"
RECALL = "document.querySelectorAll('#plots_recall_csv {}')"
LEGEND = f"[...{RECALL.format('.role-legend-label text')}].map(text => text.textContent)"
CURVES = f"[...{RECALL.format('.mark-line path')}].map(line => line.getAttribute('stroke'))"
# Texts of charts that end outside their image, or images outside their place.
CUT = """[...document.querySelectorAll('svg.marks')].flatMap(image => {
  const inside = (part, whole) => part.left > whole.left - 1 && part.right < whole.right + 1;
  const box = part => part.getBoundingClientRect();
  const texts = [...image.querySelectorAll('text')].filter(text => text.textContent.trim());
  return [...texts.filter(text => !inside(box(text), box(image))),
          ...[image].filter(() => !inside(box(image), box(image.closest('main > div'))))]
    .map(part => part.textContent);
})"""
WIDER = "document.documentElement.scrollWidth - window.innerWidth"


def look(tmp_path, url, *codes, **options):
    """(values of the expressions on the page, what it asked for, what it complained of)."""

    async def looked():
        async with browser.opened(tmp_path / "browser", **options) as page:
            await page.open(url)
            values = [await page.run(code) for code in codes]
            return values, [r for r in page.requests if not r.startswith("data:")], page.complaints

    return asyncio.run(looked())


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("width", "dark"), [pytest.param(1280, False, marks=SLOW), (1024, False), (360, True)]
)
def test_the_report(experiment, tmp_path, width, dark):
    sh(experiment, "python -m tools.report")
    url = (experiment / "report.html").as_uri()
    (drawn, wider), asked, complaints = look(tmp_path, url, DRAWN, WIDER, width=width, dark=dark)
    assert drawn == (experiment / "report.html").read_text().count('class="chart"')
    assert wider <= 0
    assert (asked, complaints) == ([url], [])


@pytest.mark.parametrize(
    ("rounds_not_run", "width"),
    [
        ([], 1280),
        (["_second"], 390),
        *(
            pytest.param(*case, marks=SLOW)
            for case in (([], 390), (["_second"], 1280), (["", "_second"], 390))
        ),
    ],
)
def test_the_plots_of_dvc(tmp_path, monkeypatch, width, rounds_not_run):
    """Those of the report, in its order: results first, and none that is empty."""
    clone = plotted.clone(tmp_path)
    plotted.not_run(clone, *rounds_not_run)
    monkeypatch.chdir(clone)
    charts = report_charts.of_dvc()
    assert len(charts) == 11 - 3 * len(rounds_not_run)
    url = plotted.page(clone, tmp_path / "plots")
    (titles, drawn, wider, cut, texts), asked, complaints = look(
        tmp_path, url, TITLES, DRAWN, WIDER, CUT, TEXTS, width=width
    )
    assert titles == [chart["title"] for chart in charts.values()]
    assert drawn == len(titles)
    assert wider <= 0
    assert cut == []
    assert {"bm25", "dense"} <= {*texts}
    assert not {"rev", "revision", "workspace", "filename", "field"} & {*texts}
    assert (asked, complaints) == ([url], [])


@pytest.mark.parametrize("width", [pytest.param(1280, marks=SLOW), 390])
def test_the_plots_of_two_revisions_and_ten_systems(tmp_path, monkeypatch, width):
    clone = plotted.clone(tmp_path)
    plotted.not_run(clone, "_second")
    plotted.searched_approximately(clone)
    order = plotted.add_systems(clone)
    monkeypatch.chdir(clone)
    url = plotted.page(clone, tmp_path / "plots", "dvc plots diff HEAD workspace")
    (titles, drawn, cut, texts, legend, curves), _, complaints = look(
        tmp_path, url, TITLES, DRAWN, CUT, TEXTS, LEGEND, CURVES, width=width
    )
    assert complaints == []
    charts = report_charts.of_dvc(["HEAD", "workspace"])
    assert titles == [chart["title"] for chart in charts.values()]
    assert drawn == len(titles) == 12
    assert cut == []
    assert {"revision", "HEAD", "workspace", "training", "validation"} <= {*texts}
    assert not {"rev", "filename", "field", "train.csv"} & {*texts}
    assert legend == [*order, "workspace", "HEAD"]
    assert len({*curves}) == 10 and curves.count("#7f7f7f") == 2  # bm25, in two revisions


def test_a_question_is_asked(experiment, tmp_path, monkeypatch):
    monkeypatch.chdir(experiment)
    with HTTPServer(("127.0.0.1", 0), ask_page.Handler) as server, contextlib.ExitStack() as ends:
        ends.callback(server.shutdown)
        ends.callback(ask_page.answers_of.cache_clear)
        ends.callback(ask_page.choice.cache_clear)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        query = next(iter(beir.read_queries("data/collection").values())).text

        async def asked():
            async with browser.opened(tmp_path / "browser", width=360) as page:
                await page.open(f"http://127.0.0.1:{server.server_port}/")
                await page.run(f"document.querySelector('[name=q]').value = {query!r}")
                await page.run("document.querySelector('[name=system]').value = 'hybrid'")
                await page.run("document.querySelector('button').click()", leaves=True)
                found = await page.run("document.querySelectorAll('li h2').length")
                marked = await page.run("document.querySelectorAll('mark').length")
                kept = await page.run("document.querySelector('[name=q]').value")
                return found, marked, kept, await page.run(WIDER), page.complaints

        found, marked, kept, wider, complaints = asyncio.run(asked())
    assert (found, kept, complaints) == (10, query, [])
    assert marked > 0
    assert wider <= 0
