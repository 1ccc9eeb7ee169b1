"""The stage `rerank`: scores of transformers, scaled and weighted in NumPy, nDCG by hand."""

import importlib
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import contents, write_params
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dpr.base.files import read_json
from dpr.encoders import formats
from dpr.records import beir
from dpr.runs.trec import read_run, write_run

DEPTH, FOUND, STEPS = 6, 9, 4


@pytest.fixture
def workspace(tmp_path, collection, monkeypatch):
    """Runs of BM25 (invented) for validation and test topics: 9 passages, the first 6 mixed."""
    monkeypatch.setattr(formats, "training_format", lambda *_: "fp32")
    folder, rng = tmp_path / "workspace", np.random.default_rng(3)
    shutil.copytree(collection, folder / "data/collection")
    for split in ("valid", "test"):
        run = {}
        for topic, grades in beir.read_qrels(collection, split).items():
            relevant = rng.permutation(sorted(grades))[:3].tolist()
            other = [p.id for p in beir.read_passages(collection) if p.id not in grades]
            order = [*rng.permutation([*relevant, *other[:3]]), *other[3 : FOUND - 3]]
            scores = np.sort(rng.normal(size=len(order)))[::-1]
            run[topic] = dict(zip(map(str, order), scores.tolist(), strict=True))
        write_run(folder / f"data/runs/{split}/bm25.txt", run, tag="bm25")
    monkeypatch.chdir(folder)
    return folder


def rerank(model, **changes):
    chosen = {"rerank.model": model, "rerank.run": "bm25", "rerank.depth": DEPTH}
    chosen |= {"fuse.weight_steps": STEPS}
    write_params(Path("params.yaml"), chosen | changes)
    importlib.import_module("stages.rerank").main()
    return read_json("metrics/rerank.json")


@torch.no_grad()
def logits(model, split):
    """{topic: (run's scores, logits of transformers)} of the first passages."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForSequenceClassification.from_pretrained(model).eval()
    texts = {p.id: contents(p) for p in beir.read_passages("data/collection")}
    questions, both = beir.read_queries("data/collection"), {}
    for topic, scores in read_run(f"data/runs/{split}/bm25.txt").items():
        first = [*scores][:DEPTH]
        given = [tokenizer(questions[topic].text, texts[p], return_tensors="pt") for p in first]
        both[topic] = (
            {p: scores[p] for p in first},
            {p: network(**g).logits.item() for p, g in zip(first, given, strict=True)},
        )
    return both


def scaled(scores):
    """docs/measures.md: the best is 1, and the last of n is 1 / n."""
    values = np.array([*scores.values()])
    lowest = values.min() - np.ptp(values) / (len(values) - 1)
    return dict(zip(scores, (values - lowest) / (values.max() - lowest), strict=True))


def orders(both, weight):
    fused = {}
    for topic, (of_run, of_model) in both.items():
        run, model = scaled(of_run), scaled(of_model)
        fused[topic] = sorted(run, key=lambda p: -(weight * model[p] + (1 - weight) * run[p]))
    return fused


def ndcg(split, order):
    """Mean nDCG@10 with linear gains."""
    means = []
    for topic, grades in beir.read_qrels("data/collection", split).items():
        gains = [grades.get(p, 0) for p in order[topic]], sorted(grades.values(), reverse=True)[:10]
        found, ideal = (sum(g / math.log2(n) for n, g in enumerate(of, 2)) for of in gains)
        means.append(found / ideal)
    return np.mean(means)


WEIGHTS = [step / STEPS for step in range(STEPS + 1)]


def best(both, split):
    return max(WEIGHTS, key=lambda w: ndcg(split, orders(both, w)))


def test_validation_topics_choose_the_weight(workspace, cross_encoder):
    model = cross_encoder(labels=1)
    valid, test = (logits(model, split) for split in ("valid", "test"))
    weight = best(valid, "valid")
    assert weight not in (best(test, "test"), 0.5)  # so that neither can stand for it
    figures = rerank(model)
    assert figures["weight"] == weight and figures["format"] == "fp32"
    for name, w in (("bm25", 0.0), ("model alone", 1.0), ("reranked", weight)):
        assert figures["valid"][name] == pytest.approx(ndcg("valid", orders(valid, w)), abs=1e-6)
    for split, both in (("valid", valid), ("test", test)):
        before = read_run(f"data/runs/{split}/bm25.txt")
        after = read_run(f"data/runs/{split}/reranked.txt")
        for topic, order in orders(both, weight).items():
            assert [*after[topic]] == order + [*before[topic]][DEPTH:]


@pytest.mark.parametrize(
    ("changes", "weight"), [({"rerank.weight": 0.2}, 0.2), ({"fuse.default_weight": 0.9}, 0.9)]
)
def test_a_weight_without_validation_topics(workspace, cross_encoder, changes, weight):
    model = cross_encoder(labels=1)
    header = Path("data/collection/qrels/valid.tsv").read_text().splitlines()[0]
    Path("data/collection/qrels/valid.tsv").write_text(header + "\n")
    figures = rerank(model, **changes)
    assert figures["weight"] == weight
    assert figures["valid"] == {"bm25": None, "model alone": None, "reranked": None}
    after = read_run("data/runs/test/reranked.txt")
    for topic, order in orders(logits(model, "test"), weight).items():
        assert [*after[topic]][:DEPTH] == order
