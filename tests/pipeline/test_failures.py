"""What lies in the workspace after a stage has failed, and experiments on other collections."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import HEADER, environment, jsonl, sh

from dpr import measures
from dpr.records import beir
from dpr.runs import trec

pytestmark = pytest.mark.slow


@pytest.fixture
def restored(experiment):
    yield experiment
    sh(experiment, "dvc exp apply tiny")


def call(folder, *command):
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment(), check=False
    )


@pytest.mark.parametrize("command", ["dvc exp run", "dvc repro --keep-going"])
def test_after_a_failed_audit_every_figure_is_of_the_runs_that_lie_there(restored, command):
    """An index that keeps 8 bits a vector misses nearly all; it can be searched nevertheless."""
    before = (restored / "metrics/eval.json").read_text()
    params = restored / "params.yaml"
    params.write_text(params.read_text().replace("kind: flat", "kind: lsh"))
    params.write_text(params.read_text().replace("lsh_bits:", "lsh_bits: 8 #", 1))
    done = call(restored, *command.split())
    assert done.returncode != 0
    assert "below audit.min_recall" in done.stdout + done.stderr
    qrels = beir.read_qrels(restored / "data/collection", "test")
    shown = json.loads((restored / "metrics/eval.json").read_text())
    compared = json.loads((restored / "metrics/compare.json").read_text())["systems"]
    for system in ("zero_shot", "dense"):
        run = trec.read_run(restored / f"data/runs/test/{system}.txt")
        found = measures.headline(qrels, run)
        assert shown[system]["nDCG@10"] == pytest.approx(found)
        assert compared[system]["nDCG@10"]["mean"] == pytest.approx(found)
    assert (restored / "metrics/eval.json").read_text() != before
    audited = json.loads((restored / "metrics/audit.json").read_text())
    assert audited["dense"]["kind"] == "lsh"


@pytest.fixture
def others(tmp_path):
    """Two collections, of which the second is damaged."""
    folders = []
    for name in ("sound", "damaged"):
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True)
        texts = ["heart attack", "lung cancer", "broken bone", "liver"]
        passages = ({"_id": f"d{i}", "text": text} for i, text in enumerate(texts))
        (folder / "corpus.jsonl").write_bytes(jsonl(*passages))
        queries = ({"_id": f"q{i}", "text": text.split()[0]} for i, text in enumerate(texts))
        (folder / "queries.jsonl").write_bytes(jsonl(*queries))
        lines = b"".join(b"q%d\td%d\t1\n" % (i, i) for i in range(4))
        (folder / "qrels/test.tsv").write_bytes(HEADER + lines)
        folders.append(folder)
    (folders[1] / "corpus.jsonl").write_bytes(b"not JSON\n")
    return folders


def test_a_suite_goes_on_after_a_failure_and_runs_nothing_twice(experiment, others):
    sound, damaged = others
    suite = ["python", "-m", "tools.suite", f"beir:{damaged},data.separator=' '", f"beir:{sound}"]
    first = call(experiment, *suite)
    assert first.returncode == 1
    assert f"suite: failed: beir:{damaged}" in first.stderr
    assert "Running stage 'train'" not in first.stderr  # trained once, for all collections
    table = [[c.strip() for c in line.split("|")] for line in first.stdout.splitlines()]
    row = next(cells for cells in table if cells[1:2] == ["sound"])
    assert float(row[2]) == 1.0  # BM25: each query is a word of its passage
    again = call(experiment, *suite[:3], f"beir:{sound}")
    assert again.returncode == 0, again.stderr
    assert "Running stage" not in again.stderr
    assert again.stdout.splitlines()[2] in first.stdout


def test_a_suite_reads_a_changed_model_again(experiment, others, tiny_model, tmp_path):
    """And finds the stages' `python` without the environment on PATH."""
    from safetensors.numpy import load_file, save_file

    model, weights = tmp_path / "model", tmp_path / "model/model.safetensors"
    shutil.copytree(tiny_model, model)
    suite = [sys.executable, "-m", "tools.suite", f"beir:{others[0]}", "-S", f"model.name={model}"]
    suite += ["-S", "train.max_steps=0"]

    def run():
        bare = environment() | {"PATH": f"{Path(shutil.which('git')).parent}:/usr/bin:/bin"}
        return subprocess.run(suite, cwd=experiment, capture_output=True, text=True, env=bare)

    first, again = run(), run()
    assert first.returncode == again.returncode == 0, first.stderr
    assert "Running stage 'init'" in first.stderr
    assert "Running stage" not in again.stderr
    save_file(
        {name: value[..., ::-1].copy() for name, value in load_file(weights).items()}, weights
    )
    changed = run()
    assert changed.returncode == 0, changed.stderr
    assert "Running stage 'init'" in changed.stderr
