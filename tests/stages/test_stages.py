"""Whole stages: what they refuse before writing, and unusual inputs that work."""

import csv
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import PARAMS, ROOT, write_params

from dpr.base.errors import InputError
from dpr.base.files import read_json, sha256, write_json
from dpr.embeddings.artifact import MANIFEST, VECTORS, Embeddings
from dpr.encoders import checkpoint
from dpr.encoders.embedder import Embedder
from dpr.indexes.build import build
from dpr.records import beir
from dpr.records.documents import document_of
from dpr.records.ids import LINES, write_ids
from dpr.runs import trec
from dpr.sources.cut import cut
from stages.run import run


@pytest.fixture
def workspace(tmp_path, make_encoder, collection, monkeypatch):
    """A data/ folder with artifacts of the system `dense`."""
    folder = tmp_path / "workspace"
    for name in ("collection", "training"):
        shutil.copytree(collection, folder / "data" / name)
    beir.write_pairs(folder / "data/negatives/first", beir.read_pairs(collection))
    shutil.copy(ROOT / "versions.yaml", folder)
    write_params(folder / "params.yaml", {})
    for system in ("zero_shot", "dense"):
        checkpoint.save(make_encoder(similarity="dot"), folder / "data/encoders" / system)
    embeddings = folder / "data/embeddings/dense"
    embeddings.mkdir(parents=True)
    np.save(embeddings / VECTORS, np.ones((2, 32), np.float32))
    write_ids(embeddings, ["d00", "d01"], 2)
    manifest = {"similarity": "dot", "count": 2, "dimension": 32, "dtype": "float32"}
    manifest["sha256"] = sha256(embeddings / VECTORS)
    manifest["ids_sha256"] = sha256(embeddings / LINES)
    write_json(embeddings / MANIFEST, manifest | {"encoder": {"sha256": "m"}, "format": "fp32"})
    opened = Embeddings.open(embeddings)
    build(opened, PARAMS.index, 0, folder / "data/indexes/dense")
    monkeypatch.chdir(folder)
    return folder


def test_too_little_memory_for_a_search_is_refused_before_the_work(workspace):
    write_params(Path("params.yaml"), {"search.memory": 1e-5, "encode.precision": "fp32"})
    trained = {"pairs": {"count": 9_999}, "judgments": {"train": {"queries": 9_999}}}
    write_json("data/manifest.json", {"train": trained, "collection": {"passages": {"count": 60}}})
    with pytest.raises(InputError, match=r"search\.memory: 1e-05 GiB hold \d+ vectors of 32"):
        importlib.import_module("stages.check").main()
    assert not Path("data/checked.json").exists()


def test_a_cross_encoder_that_cannot_be_opened_is_refused_before_the_work(workspace, tmp_path):
    trained = {"pairs": {"count": 9_999}, "judgments": {"train": {"queries": 9_999}}}
    write_json("data/manifest.json", {"train": trained, "collection": {"passages": {"count": 60}}})
    teacher = {"teacher.scores": f"cross-encoder:{tmp_path}", "mine.bm25.use": True}
    for changes, key in (
        ({"rerank.model": str(tmp_path)}, r"rerank\.model"),
        (teacher | {"train.teacher_share": 0.5}, r"teacher\.scores"),
    ):
        write_params(Path("params.yaml"), {"encode.precision": "fp32"} | changes)
        with pytest.raises(InputError, match=f"{key}: cannot load the cross-encoder"):
            importlib.import_module("stages.check").main()
    assert not Path("data/checked.json").exists()


@pytest.mark.parametrize(("separator", "said"), [(".", True), (". ", False), ("\n", False)])
def test_a_separator_without_white_space_is_said(
    collection, tmp_path, monkeypatch, capsys, separator, said
):
    monkeypatch.chdir(tmp_path)
    changes = {"data.collection": f"beir:{collection}", "data.train": f"beir:{collection}"}
    changes |= {"data.separator": separator}
    write_params(tmp_path / "params.yaml", changes)
    importlib.import_module("stages.prepare").main()
    assert ("data.separator '.' ends without a space" in capsys.readouterr().err) is said


def test_an_error_of_the_user_is_one_line(workspace, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stages/index.py", "dense"])
    (workspace / "data/embeddings/dense/ids.txt").unlink()
    with pytest.raises(SystemExit) as caught:
        run(importlib.import_module("stages.index").main)
    assert "data/embeddings/dense" in str(caught.value)
    assert "\n" not in str(caught.value)


def search_and_measure(workspace, encoder):
    """The stages from the encoders to the measures."""
    for system in ("zero_shot", "dense"):
        checkpoint.save(encoder, workspace / "data/encoders" / system)
        for stage in ("encode", "index", "search"):
            importlib.import_module(f"stages.{stage}").main(system)
    for stage in ("bm25_index", "bm25_search", "fuse", "eval", "compare", "audit"):
        importlib.import_module(f"stages.{stage}").main()


def test_a_collection_without_validation_topics_goes_through(workspace, make_encoder):
    """As with TREC-COVID, which has test topics alone."""
    beir.write_qrels(workspace / "data/collection", "valid", [])
    search_and_measure(workspace, make_encoder())
    assert (workspace / "data/runs/valid/hybrid.txt").read_text() == ""
    found = read_json(workspace / "metrics/fuse.json")
    assert found == {"dense_weight": 0.5, "valid": {"nDCG@10": None}}
    systems = read_json(workspace / "metrics/compare.json")["systems"]
    assert systems.keys() == {"bm25", "zero_shot", "dense", "rrf", "hybrid"}
    assert systems["bm25"]["nDCG@10"]["mean"] > 0.9  # each query is a word of its passages


def test_topics_for_which_bm25_finds_nothing(workspace, make_encoder):
    """All topics are stop words alone: dense fused with nothing stays as it is."""
    collection = workspace / "data/collection"
    queries = beir.read_queries(collection).values()
    beir.write_queries(collection, [query._replace(text="and of the") for query in queries])
    search_and_measure(workspace, make_encoder())
    systems = read_json("metrics/compare.json")["systems"]
    assert not any(interval["mean"] for interval in systems["bm25"].values())
    for split in ("valid", "test"):
        bm25, dense, rrf = (
            trec.read_run(f"data/runs/{split}/{system}.txt") for system in ("bm25", "dense", "rrf")
        )
        assert not any(bm25.values())
        assert [list(found) for found in rrf.values()] == [list(found) for found in dense.values()]


def test_zero_steps_leave_a_plot_row(workspace, make_encoder):
    write_params(workspace / "params.yaml", {"train.max_steps": 0, "train.valid_passages": 40})
    checkpoint.save(make_encoder(), workspace / "data/encoders/zero_shot")
    importlib.import_module("stages.train").main("first")
    rows = (workspace / "plots/train.csv").read_text().splitlines()
    assert len(rows) == 2
    assert rows[1].startswith("0,")


FIRST_IS_SLOW = """
import os, sys, time
if os.environ.get("RANK") == "0" and "torch.distributed.run" not in sys.argv:
    from dpr.base.resume import Work
    locked = Work.locked
    Work.locked = lambda work: time.sleep(3) or locked(work)
"""


@pytest.mark.slow
def test_two_processes_train_as_one(workspace, make_encoder):
    """The stage as torchrun starts it: the losses of one process, and one set of outputs."""
    changes = {"max_steps": 6, "batch_size": 3, "accumulate": 2, "temperature_lr": 0.05}
    changes |= {"valid_passages": 40, "precision": "fp32"}
    changes = {f"train.{key}": value for key, value in changes.items()} | {"threads": 1}
    write_params(workspace / "params.yaml", changes)
    checkpoint.save(make_encoder(), workspace / "data/encoders/zero_shot")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    # The first process is slow: the other must not need its folder before it is there.
    (workspace / "sitecustomize.py").write_text(FIRST_IS_SLOW)
    environment = os.environ | {"PYTHONPATH": f"{workspace}{os.pathsep}{ROOT}"}
    curves = []
    for launcher in ([], torchrun):
        command = [sys.executable, *launcher, "-m", "stages.train", "first"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("step 6: validation") == 1
        with Path("plots/train.csv").open() as file:
            rows = list(csv.DictReader(file))
        curves.append([float(row[name]) for name in ("loss", "temperature") for row in rows])
    assert len(curves[0]) == 2 * 6
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)
    left = sorted(path.name for path in Path(".scratch/train").glob("*/*"))
    assert left == ["finished"] * 2 + ["state.safetensors"] * 2  # of both trainings


@pytest.mark.parametrize("words", [None, 5])
def test_runs_with_feedback(workspace, make_encoder, words):
    """The dense run is NumPy's over the stored vectors; BM25's expanded queries find more."""
    if words:
        passages = list(beir.read_passages("data/collection"))
        options = PARAMS.data.passages.model_copy(update={"words": words})
        beir.write_passages(Path("data/collection"), list(cut(passages, options)))
    checkpoint.save(make_encoder(similarity="dot"), workspace / "data/encoders/dense")
    changes = {"encode.precision": "fp32", "data.passages.words": words}
    changes |= {"search.top_k": 20, "eval.measures": ["nDCG@10"], "search.feedback.passages": 4}
    runs = {}
    for method in (None, "mean"):
        feedback = {"search.feedback.method": method, "bm25.rm3.use": bool(method)}
        write_params(Path("params.yaml"), changes | feedback)
        for stage in ("encode", "index", "search") if method is None else ("search",):
            importlib.import_module(f"stages.{stage}").main("dense")
        for stage in ("bm25_index", "bm25_search"):
            importlib.import_module(f"stages.{stage}").main()
        runs[method] = [trec.read_run(f"data/runs/test/{name}.txt") for name in ("dense", "bm25")]
    assert runs["mean"][1] != runs[None][1]

    embeddings = Embeddings.open("data/embeddings/dense")
    queries = beir.read_queries("data/collection")
    options = PARAMS.encode.model_copy(update={"precision": "fp32"})
    source, cpu = Path("data/encoders/dense"), torch.device("cpu")
    embedder = Embedder(source, options, cpu, Path(".scratch"))
    for query_id, found in runs["mean"][0].items():
        vector = embedder.embed_queries([queries[query_id]])[0]
        first = np.argsort(-(embeddings.vectors @ vector))[:4]
        scores = embeddings.vectors @ np.vstack([vector, embeddings.vectors[first]]).mean(axis=0)
        expected = {}
        for row in np.argsort(-scores):
            name = embeddings.ids[row]
            expected.setdefault(document_of(name) if words else name, scores[row])
        assert list(found.values()) == pytest.approx(list(expected.values())[:20], rel=1e-4)
        assert found == pytest.approx({name: expected[name] for name in found}, rel=1e-4)
