"""Questions to the experiment: answers as in its runs, in a terminal and on the page."""

import contextlib
import http.client
import json
import re
import shutil
import socket
import threading
import urllib.error
import urllib.request
from collections import Counter
from http.server import HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import HEADER

from dpr.records import beir
from dpr.records.types import SYSTEMS
from dpr.runs.trec import read_run
from tools import ask, sides
from tools.answers import Answer, Answers


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_topic_gets_what_its_run_says(experiment, system):
    with contextlib.chdir(experiment):
        query_id, grades = next(iter(beir.read_qrels("data/collection", "test").items()))
        text = beir.read_queries("data/collection")[query_id].text
        answers = Answers(system).ask(text, 5)
        run = read_run(Path(f"data/runs/test/{system}.txt"))[query_id]
    expected = dict(sorted(run.items(), key=lambda item: -item[1])[:5])
    assert [answer.rank for answer in answers] == [1, 2, 3, 4, 5]
    assert [a.score for a in answers] == pytest.approx(list(expected.values()), rel=1e-4)
    assert {a.id for a in answers} == set(expected)
    assert [a.judged for a in answers] == [grades.get(a.id) for a in answers]


def test_without_questions_a_fusion_takes_the_encoder_as_it_comes(
    experiment, tmp_path, monkeypatch
):
    """The folder of `tools.collect` without --questions; its encoder is not trained."""
    folder = tmp_path / "folder"
    shutil.copytree(experiment / "data", folder / "data")
    for name in ("params.yaml", "versions.yaml"):
        shutil.copy(experiment / name, folder)
    shutil.rmtree(folder / "data/embeddings/dense")
    (folder / "data/collection/queries.jsonl").unlink()
    (folder / "data/collection/queries.jsonl").write_text("")
    for split in ("test", "valid"):
        path = folder / f"data/collection/qrels/{split}.tsv"
        path.unlink()  # it may be a link into DVC's cache
        path.write_bytes(HEADER)
    current = []
    monkeypatch.setattr(sides, "stale", lambda *stages: current.append(stages))
    monkeypatch.chdir(folder)
    k, asked = 5, next(iter(beir.read_passages("data/collection"))).title or "heart"
    ranked = {system: Answers(system).ask(asked, 100) for system in ("zero_shot", "bm25")}
    expected = Counter()
    for answers_of_one in ranked.values():
        expected.update({a.id: 1 / (60 + a.rank) for a in answers_of_one})
    fused = Answers("rrf")
    found = fused.ask(asked, k)
    assert [a.score for a in found] == pytest.approx([s for _, s in expected.most_common(k)])
    assert current == [("index@zero_shot",), ("bm25_index",), ("index@zero_shot", "bm25_index")]
    assert fused.notes == ["nothing is trained here: rrf fuses zero_shot and bm25"]
    assert Answers("hybrid").notes[0].endswith("weight 0.5")
    assert {a.judged for a in found} == {None}


def test_json_has_a_row_for_each_answer(experiment, monkeypatch, capsys):
    monkeypatch.chdir(experiment)
    query = next(iter(beir.read_queries("data/collection").values())).text
    ask.main(query, "bm25", k=2, as_json=True)
    assert [row["rank"] for row in json.loads(capsys.readouterr().out)] == [1, 2]


@pytest.fixture(scope="module")
def port():
    """The port of a server of the page."""
    with HTTPServer(("127.0.0.1", 0), ask.Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()
    ask.answers_of.cache_clear()


def test_the_page(experiment, port, monkeypatch):
    monkeypatch.chdir(experiment)
    address = f"http://127.0.0.1:{port}"

    def get(path):
        return urllib.request.urlopen(address + path).read().decode()

    assert "<form" in get("/")
    assert get("/?q=heart&system=dense").count("<li>") == 10
    assert "<script>" not in get("/?q=<script>alert(1)</script>")
    assert "&lt;script&gt;" in get("/?q=<script>alert(1)</script>")
    with socket.create_connection(("127.0.0.1", port)):  # it asks nothing
        assert "<form" in get("/")
    assert "no system other" in get("/?q=heart&system=other")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get("/../params.yaml")


@pytest.mark.parametrize(
    ("grade", "sign", "words"),
    [
        (1, "+", "relevant"),
        (2, "+", "relevant"),
        (0, "-", "judged, not relevant"),
        (-1, "-", "judged, not relevant"),  # of TREC-COVID
        (None, "", None),
    ],
)
def test_how_a_grade_is_shown(grade, sign, words, monkeypatch):
    answers = [Answer(1, "d1", 0.5, "Title", "text", grade)]
    last_line = list(ask.lines("heart", answers, colours=False))[-1]
    assert last_line.split() == f"d1 0.5000 {sign}".split()
    known = SimpleNamespace(notes=(), ask=lambda question: answers)
    monkeypatch.setattr(ask, "answers_of", lambda system: known)
    shown = re.findall("<strong>(.*?)</strong>", ask.page("heart", "dense"))
    assert shown == ([words] if words else [])


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("LOCALHOST:9000", 200),  # through a tunnel
        ("[::1]:8000", 200),
        ("192.168.0.7", 200),  # nobody can bind an address anew
        ("rebound.example:8000", 421),
        ("localhost.rebound.example", 421),
        ("127.0.0.1.rebound.example", 421),
        ("", 421),
    ],
)
def test_a_foreign_name_gets_no_answer(port, host, status):
    """A foreign page may have bound its name to this address (DNS rebinding)."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/", headers={"Host": host})
    response = connection.getresponse()
    assert response.status == status
    assert ("<form" in response.read().decode()) == (status == 200)
    connection.close()
