"""Questions to the experiment: answers as in its runs, in a terminal and on the page."""

import contextlib
import html
import http.client
import io
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
from ruamel.yaml import YAML

from dpr.base.files import read_json
from dpr.records import beir
from dpr.records.types import SYSTEMS
from dpr.runs.trec import read_run
from dpr.similarity import SIMILARITIES
from tools import answers, ask, ask_page, sides
from tools.answers import Answer, Answers
from tools.passages import Document
from tools.systems import Choice

SCORES = {
    "bm25": "BM25 score of question and passage",
    "zero_shot": "cosine of question and passage",
    "dense": "cosine of question and passage",
    "rrf": "sum of reciprocal ranks 1 / (60 + rank) in dense and BM25",
}


@pytest.fixture
def first_topic(experiment):
    """(id, text) of the first test topic."""
    query_id = next(iter(beir.read_qrels(experiment / "data/collection", "test")))
    return query_id, beir.read_queries(experiment / "data/collection")[query_id].text


@pytest.fixture
def best(experiment):
    """(system, nDCG@10 in three digits) of the best system; of equal ones, the first."""
    compared = read_json(experiment / "metrics/compare.json")["systems"]
    mean = max(of_system["nDCG@10"]["mean"] for of_system in compared.values())
    system = next(s for s in SYSTEMS if compared[s]["nDCG@10"]["mean"] == mean)
    return system, f"{mean:.3f}".lstrip("0")


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_topic_gets_what_its_run_says(experiment, system):
    with contextlib.chdir(experiment):
        query_id, grades = next(iter(beir.read_qrels("data/collection", "test").items()))
        text = beir.read_queries("data/collection")[query_id].text
        searcher = Answers(system)
        answers = searcher.ask(text, 5)
        weight = read_json("metrics/fuse.json")["dense_weight"]
        run = read_run(Path(f"data/runs/test/{system}.txt"))[query_id]
    expected = dict(sorted(run.items(), key=lambda item: -item[1])[:5])
    assert [answer.rank for answer in answers] == [1, 2, 3, 4, 5]
    assert [a.score for a in answers] == pytest.approx(list(expected.values()), rel=1e-4)
    assert {a.id for a in answers} == set(expected)
    assert [a.judged for a in answers] == [grades.get(a.id) for a in answers]
    if system == "hybrid":
        dense, bm25 = re.fullmatch(
            r"(\S+) . scaled dense \+ (\S+) . scaled BM25", searcher.score
        ).groups()
        assert (float(dense), float(bm25)) == pytest.approx((weight, 1 - weight))
    elif system == "reranked":
        assert searcher.score.endswith("scaled hybrid") and "scaled cross-encoder" in searcher.score
    else:
        assert searcher.score == SCORES[system]


def test_the_score_of_each_similarity_has_words():
    assert answers.SCORES.keys() == SIMILARITIES.keys()


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
    values = YAML().load(folder / "params.yaml")
    values["rerank"]["weight"] = 0.3  # no topics chose one
    YAML().dump(values, folder / "params.yaml")
    reranked = Answers("reranked")
    assert reranked.score == ".3 × scaled cross-encoder + .7 × scaled hybrid"  # noqa: RUF001
    assert [a.rank for a in reranked.ask(asked, k)] == [1, 2, 3, 4, 5]
    assert current[-1] == ("index@zero_shot", "bm25_index", "reranker")
    assert {a.judged for a in found} == {None}
    assert fused.score.endswith("in zero_shot and BM25")
    monkeypatch.setattr(ask_page, "choice", lambda: Choice("zero_shot"))
    assert 'placeholder="your question"' in ask_page.page("", None)
    assert "<a " not in ask_page.page("", None)


def test_json_has_a_row_for_each_answer(experiment, monkeypatch, capsys):
    monkeypatch.chdir(experiment)
    query = next(iter(beir.read_queries("data/collection").values())).text
    ask.main(query, "bm25", k=2, as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert [row["rank"] for row in rows] == [1, 2]
    assert set(rows[0]) == {"rank", "id", "score", "title", "snippet", "judged", "place"}


def test_the_terminal_asks_the_best_system(experiment, monkeypatch, capsys, first_topic, best):
    monkeypatch.chdir(experiment)
    ask.main(first_topic[1], None, k=3, as_json=True)
    told = capsys.readouterr()
    expected = [answer.row for answer in Answers(best[0]).ask(first_topic[1], 3)]
    assert json.loads(told.out) == expected
    assert "1,402 passages of beir:" in told.err
    assert f"{best[0]} (best here: nDCG@10 {best[1]}): " in told.err


def test_the_prompt_has_an_example(experiment, monkeypatch, capsys, first_topic):
    monkeypatch.chdir(experiment)
    monkeypatch.setattr("sys.stdin", io.StringIO(f" \n{first_topic[1]}\n"))
    ask.main(None, "bm25", k=1, as_json=False)
    told = capsys.readouterr()
    assert f"for example: {first_topic[1]}\n" in told.err
    assert "bm25: words" in told.err
    assert "score: BM25 score" in told.err
    assert "the question is empty" in told.err
    assert told.out.startswith(" 1. ")


@pytest.fixture(scope="module")
def port():
    """The port of a server of the page."""
    with HTTPServer(("127.0.0.1", 0), ask_page.Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()
    ask_page.answers_of.cache_clear()
    ask_page.choice.cache_clear()


def test_the_page(experiment, port, monkeypatch, first_topic, best):
    monkeypatch.chdir(experiment)
    address = f"http://127.0.0.1:{port}"

    def get(path):
        return urllib.request.urlopen(address + path).read().decode()

    with urllib.request.urlopen(address) as response:
        assert "script" not in response.headers["Content-Security-Policy"]
        empty = response.read().decode()
    assert "1,402 passages of beir:" in empty
    labels = re.findall(r'<option value="(\w+)"( selected)?>(.*?)</option>', empty)
    assert [name for name, _, _ in labels] == list(SYSTEMS)
    assert [name for name, selected, _ in labels if selected] == [best[0]]
    assert [name for name, _, label in labels if "(best here)" in label] == [best[0]]
    assert f"{best[0]} (best here: nDCG@10 {best[1]}): " in empty
    assert f'placeholder="{first_topic[1]}"' in empty
    links = [html.unescape(link) for link in re.findall('<a href="(.*?)"', empty)]
    assert len(links) == 3
    followed = get(f"/{links[0]}")
    assert f'value="{first_topic[1]}"' in followed
    assert followed.count("<li>") == 10
    assert "<strong>relevant</strong>" in followed
    assert get("/?q=heart&system=dense").count("<li>") == 10
    assert "<script>" not in get("/?q=<script>alert(1)</script>")
    assert "&lt;script&gt;" in get("/?q=<script>alert(1)</script>")
    with socket.create_connection(("127.0.0.1", port)):  # it asks nothing
        assert "<form" in get("/")
    assert "score: cosine of question and passage<" in get("/?q=heart&system=dense")
    nothing = get("/?q=xqz&system=bm25")
    assert "Nothing found" in nothing
    assert "score:" not in nothing
    other = get("/?q=heart&system=other")
    assert "no system other" in other
    assert f'value="{best[0]}" selected' in other
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get("/../params.yaml")


def shown_page(monkeypatch, question, answers, **of_system):
    """The page of a system with these answers."""
    known = {"notes": (), "score": "", "ask": lambda question: answers} | of_system
    monkeypatch.setattr(ask_page, "answers_of", lambda system: SimpleNamespace(**known))
    monkeypatch.setattr(ask_page, "choice", lambda: Choice("dense"))
    monkeypatch.setattr(ask_page, "size", lambda: "9 passages of <mine>")
    return ask_page.page(question, "dense")


def test_the_document_is_shown_on_a_click(monkeypatch):
    document = Document(["the <b>heart</b>", "two hearts & lungs"], 1, "whole document: 2 passages")
    answers = [
        Answer(1, "d1", 0.5, "Title", "two hearts", None, "2 of 2", document),
        Answer(2, "<d2>", 0.5, "", "whole", None),
    ]
    page = shown_page(monkeypatch, "heart", answers, notes=["<old>"], score="<cosine>")
    (details,) = re.findall("<details>(.*?)</details>", page, re.DOTALL)
    assert "<summary>whole document: 2 passages</summary>" in details
    first, found = re.findall("<p(.*?)</p>", details)
    assert first == ">the &lt;b&gt;<mark>heart</mark>&lt;/b&gt;"
    assert found.startswith(' class="found"')
    assert found.endswith(">two <mark>hearts</mark> &amp; lungs")
    assert "d1 (passage 2 of 2)" in page
    for text in ("<mine>", "<d2>", "<old>", "<cosine>"):
        assert text not in page
        assert html.escape(text) in page


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
    shown = re.findall("<strong>(.*?)</strong>", shown_page(monkeypatch, "heart", answers))
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
