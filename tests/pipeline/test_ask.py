"""Questions to the experiment: what its runs say, and in the browser's page."""

import contextlib
import http.client
import json
import socket
import threading
import urllib.error
import urllib.request
from http.server import HTTPServer
from pathlib import Path

import pytest
from helpers import sh

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.types import SYSTEMS, Passage
from dpr.runs.trec import read_run
from tools import ask, ask_page
from tools.answers import Answer, Answers
from tools.lookup import Lookup


def test_lookup(tmp_path):
    passages = [Passage(f"d{i}", "é" * i, f"line {i}\nand “more”") for i in range(20)]
    beir.write_passages(tmp_path, passages)
    lookup = Lookup(tmp_path)
    assert [lookup[p.id] for p in reversed(passages)] == passages[::-1]
    with pytest.raises(InputError, match=r"corpus\.jsonl: no passage 'x'"):
        lookup["x"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_topic_gets_what_its_run_says(experiment, system):
    with contextlib.chdir(experiment):
        query_id, grades = next(iter(beir.read_qrels("data/collection", "test").items()))
        text = beir.read_queries("data/collection")[query_id].text
        found = Answers(system).ask(text, 5)
        run = read_run(Path(f"data/runs/test/{system}.txt"))[query_id]
    expected = dict(sorted(run.items(), key=lambda item: -item[1])[:5])
    assert [answer.rank for answer in found] == [1, 2, 3, 4, 5]
    assert [a.score for a in found] == pytest.approx(list(expected.values()), rel=1e-4)
    assert {a.id for a in found} == set(expected)
    assert [a.judged for a in found] == [grades.get(a.id) for a in found]


def test_the_command(experiment):
    query = next(iter(beir.read_queries(experiment / "data/collection").values())).text
    printed = sh(experiment, f"python -m tools.ask --json --k 2 --system bm25 '{query}'")
    assert [row["rank"] for row in json.loads(printed)] == [1, 2]


def test_the_page(experiment, monkeypatch):
    monkeypatch.chdir(experiment)
    server = HTTPServer(("127.0.0.1", 0), ask_page.Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"

    def get(path):
        return urllib.request.urlopen(address + path).read().decode()

    assert "<form" in get("/")
    assert get("/?q=heart&system=dense").count("<li>") == 10
    assert "<script>" not in get("/?q=<script>alert(1)</script>")
    assert "&lt;script&gt;" in get("/?q=<script>alert(1)</script>")
    with socket.create_connection(("127.0.0.1", server.server_port)):  # it asks nothing
        assert "<form" in get("/")
    assert "no system other" in get("/?q=heart&system=other")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get("/../params.yaml")
    server.shutdown()
    server.server_close()
    ask_page.answers.cache_clear()


# TREC-COVID has grades of -1.
JUDGED = {1: ("+", "relevant"), 2: ("+", "relevant"), 0: ("-", "judged, not relevant")}
JUDGED |= {-1: ("-", "judged, not relevant"), None: ("", "")}


@pytest.mark.parametrize("grade", JUDGED)
def test_what_a_grade_is_shown_as(grade, monkeypatch):
    sign, words = JUDGED[grade]
    found = [Answer(1, "d1", 0.5, "Title", "text", grade)]
    assert list(ask.lines("heart", found, colours=False))[-1].split() == f"d1 0.5000 {sign}".split()
    monkeypatch.setattr(ask_page, "answers", lambda system: Fixed(found))
    shown = ask_page.page("heart", "dense")
    assert (f"<strong>{words}</strong>" in shown) == bool(words)
    assert "<strong>" in shown or not words


class Fixed:
    """Answers that are known."""

    notes = ()

    def __init__(self, found):
        self.found = found

    def ask(self, question):
        return self.found


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("LOCALHOST:9000", 200),  # by a tunnel
        ("[::1]:8000", 200),
        ("192.168.0.7", 200),  # an address is no name that someone may bind anew
        ("rebound.example", 421),
        ("rebound.example:8000", 421),
        ("localhost.rebound.example", 421),
        ("127.0.0.1.rebound.example", 421),
        ("", 421),
    ],
)
def test_the_page_is_for_those_who_ask_by_its_name(host, status):
    """A name of another page that was bound to this address reads no answer (DNS rebinding)."""
    server = HTTPServer(("127.0.0.1", 0), ask_page.Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    asking = http.client.HTTPConnection("127.0.0.1", server.server_port)
    asking.request("GET", "/", headers={"Host": host})
    answer = asking.getresponse()
    assert answer.status == status
    assert ("<form" in answer.read().decode()) == (status == 200)
    asking.close()
    server.shutdown()
    server.server_close()
