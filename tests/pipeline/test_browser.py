"""The pages in Chromium: drawn, without a network, without a complaint."""

import asyncio
import contextlib
import threading
from http.server import HTTPServer

import browser
import pytest
from helpers import sh

from dpr.records import beir
from tools import ask_page

pytestmark = pytest.mark.skipif(browser.PROGRAM is None, reason="no Chromium here")
DRAWN = "document.querySelectorAll('svg.marks, canvas.marks').length"
WIDER = "document.documentElement.scrollWidth - window.innerWidth"


def look(tmp_path, url, *codes, **options):
    """(values of the expressions on the page, what it asked for, what it complained of)."""

    async def looked():
        async with browser.opened(tmp_path / "browser", **options) as page:
            await page.open(url)
            values = [await page.run(code) for code in codes]
            return values, [r for r in page.requests if not r.startswith("data:")], page.complaints

    return asyncio.run(looked())


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)])
def test_the_report(experiment, tmp_path, width, dark):
    sh(experiment, "python -m tools.report")
    url = (experiment / "report.html").as_uri()
    (drawn, wider), asked, complaints = look(tmp_path, url, DRAWN, WIDER, width=width, dark=dark)
    assert drawn == (experiment / "report.html").read_text().count('class="chart"')
    assert wider <= 0
    assert (asked, complaints) == ([url], [])


def test_the_plots_of_dvc(experiment, tmp_path):
    sh(experiment, f"dvc plots show -o {tmp_path / 'plots'}")
    url = (tmp_path / "plots/index.html").as_uri()
    (drawn,), asked, complaints = look(tmp_path, url, DRAWN)
    assert drawn == 12
    assert (asked, complaints) == ([url], [])


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
