"""The whole graph over documents that are cut into passages: MaxP by NumPy, in each run."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from staged import run_all

from dpr.base import runtime
from dpr.base.files import read_json
from dpr.bm25 import lucene
from dpr.embeddings.artifact import Embeddings
from dpr.encoders.embedder import Embedder
from dpr.records import beir
from dpr.runs.trec import read_run
from dpr.settings import load_settings
from stages.run import SCRATCH
from tools.answers import Answers

CUT = {"data.passages.words": 4, "data.passages.overlap": 1, "search.top_k": 20}
CUT |= {"index.kind": "hnsw", "eval.measures": ["nDCG@10", "recall@20"]}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cut(tmp_path_factory, tiny_model):
    return run_all(tmp_path_factory.mktemp("cut"), tiny_model, **CUT)


def require_maxp(run, ids, scores):
    """The run has the 20 documents with the best passages; of equal ones, any."""
    best = {}
    for passage_id, score in zip(ids, scores, strict=True):
        document = passage_id.rpartition("#")[0]
        best[document] = max(float(score), best.get(document, -np.inf))
    assert run == pytest.approx({document: best[document] for document in run}, abs=1e-4)
    assert sorted(run.values()) == pytest.approx(sorted(best.values())[-20:], abs=1e-4)


def test_every_run_lists_documents_by_their_best_passage(cut):
    with contextlib.chdir(cut):
        counts = read_json("data/manifest.json")["collection"]["passages"]
        assert counts["count"] > counts["documents"] == 65
        queries, settings = beir.read_queries("data/collection"), load_settings("params.yaml")
        asked = [queries[q] for q in beir.read_qrels("data/collection", "test")]
        for system in ("zero_shot", "dense"):
            run = read_run(f"data/runs/test/{system}.txt")
            embeddings = Embeddings.open(f"data/embeddings/{system}")
            device = runtime.device()
            folder = Path("data/encoders") / system
            encoder = Embedder(folder, settings.encode, device, SCRATCH)
            for query in asked:
                (vector,) = encoder.embed_queries([query])
                require_maxp(run[query.id], embeddings.ids, embeddings.vectors @ vector)
        run = read_run("data/runs/test/bm25.txt")
        for query_id, found in lucene.search(
            Path("data/indexes/bm25"), asked, 0.9, 0.4, 999, 1
        ).items():
            require_maxp(run[query_id], *zip(*found.items(), strict=True))


@pytest.mark.parametrize("system", ["bm25", "dense", "rrf", "hybrid"])
def test_a_question_gets_a_passage_of_each_document(cut, system):
    with contextlib.chdir(cut):
        query = beir.read_queries("data/collection")["q6"]
        answers = Answers(system).ask(query.text, 5)
        found = read_run(f"data/runs/test/{system}.txt")["q6"]
        texts = {p.id: p.text for p in beir.read_passages("data/collection")}
    assert [a.score for a in answers] == pytest.approx(sorted(found.values())[:-6:-1], rel=1e-4)
    assert all("#" not in a.id and a.place for a in answers)
    assert any(a.judged == 1 for a in answers)
    for answer in answers:
        number, count = map(int, answer.place.split(" of "))
        document = [texts[f"{answer.id}#{n}"] for n in range(count)]
        assert answer.snippet == document[number - 1]
        if count > 1:
            assert answer.document.texts == document
            assert answer.document.found == number - 1
