"""What lies in the workspace after a stage has failed, and experiments on other collections."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import call, environment, sh

from dpr import measures
from dpr.base.files import read_json
from dpr.records import beir
from dpr.runs import trec
from stages.run import BACK

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("command", ["dvc exp run", "dvc repro --keep-going"])
def test_after_a_failed_audit_every_figure_is_of_the_runs_that_lie_there(restored, command):
    """An index that keeps 8 bits a vector misses nearly all; it can be searched nevertheless."""
    before = read_json(restored / "metrics/eval.json")
    params = restored / "params.yaml"
    params.write_text(params.read_text().replace("kind: flat", "kind: lsh"))
    params.write_text(params.read_text().replace("lsh_bits:", "lsh_bits: 8 #", 1))
    done = call(restored, command)
    assert done.returncode != 0
    assert "below audit.min_recall" in done.stdout + done.stderr
    qrels = beir.read_qrels(restored / "data/collection", "test")
    shown = read_json(restored / "metrics/eval.json")
    compared = read_json(restored / "metrics/compare.json")["systems"]
    for system in ("zero_shot", "dense"):
        run = trec.read_run(restored / f"data/runs/test/{system}.txt")
        expected = pytest.approx(measures.mean_primary_measure(qrels, run))
        assert shown[system]["nDCG@10"] == expected
        assert compared[system]["nDCG@10"]["mean"] == expected
    assert shown != before
    assert read_json(restored / "metrics/audit.json")["dense"]["kind"] == "lsh"


def test_the_command_after_a_failed_experiment_takes_all_back(restored):
    sh(restored, "git -c user.name=t -c user.email=t@example.org commit -qam tiny")
    done = call(restored, "dvc exp run -S data.collection=beir:/nowhere")
    assert done.returncode != 0
    assert "D data/manifest.json" in sh(restored, "git status --short")
    assert f"go back to the last commit: {BACK}" in done.stderr
    subprocess.run(BACK, shell=True, cwd=restored, check=True, env=environment())
    assert sh(restored, "git status --short --untracked-files=no") == ""
    assert "up to date" in sh(restored, "dvc status")


def test_a_suite_goes_on_after_a_failure_and_runs_nothing_twice(experiment, collection, tmp_path):
    damaged = shutil.copytree(collection, tmp_path / "damaged")
    (damaged / "corpus.jsonl").write_bytes(b"not JSON\n")
    suite = "python -m tools.suite"
    first = call(experiment, f"{suite} \"beir:{damaged},data.separator=' '\" beir:{collection}")
    assert first.returncode == 1
    assert f"suite: failed: beir:{damaged}" in first.stderr
    assert "Running stage 'train'" not in first.stderr  # trained once, for all collections
    table = [[c.strip() for c in line.split("|")] for line in first.stdout.splitlines()]
    row = next(cells for cells in table if cells[1:2] == ["collection"])
    assert float(row[2]) > 0.9  # BM25: each query is a word of its passages
    again = call(experiment, f"{suite} beir:{collection}")
    assert again.returncode == 0, again.stderr
    assert "Running stage" not in again.stderr
    assert again.stdout.splitlines()[2] in first.stdout


def test_a_suite_reads_a_changed_model_again(experiment, collection, tiny_model, tmp_path):
    """And finds the stages' `python` without the environment on PATH."""
    from safetensors.numpy import load_file, save_file

    model, weights = tmp_path / "model", tmp_path / "model/model.safetensors"
    shutil.copytree(tiny_model, model)
    suite = f"{sys.executable} -m tools.suite beir:{collection} -S model.name={model}"
    bare = f"{Path(shutil.which('git')).parent}:/usr/bin:/bin"

    def run():
        done = call(experiment, f"{suite} -S train.max_steps=0", PATH=bare)
        assert done.returncode == 0, done.stderr
        return done.stderr

    assert "Running stage 'init'" in run()
    assert "Running stage" not in run()
    save_file(
        {name: value[..., ::-1].copy() for name, value in load_file(weights).items()}, weights
    )
    assert "Running stage 'init'" in run()
