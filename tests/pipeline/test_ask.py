"""Questions to the experiment: what its runs say, and in the browser's page."""

import contextlib
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
from dpr.records.types import Passage
from dpr.runs.trec import read_run
from dpr.systems import SYSTEMS
from tools import ask_page
from tools.answers import Answers
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
