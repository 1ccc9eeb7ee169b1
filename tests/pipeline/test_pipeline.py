"""The whole graph through real DVC, with a tiny encoder, in a temporary clone."""

import csv
import json
import re
import subprocess
import sys
import time

import pytest
from helpers import sh
from small_collection import TEST_TOPICS, VALID_TOPICS


@pytest.mark.parametrize("stage", ["bm25_index", "eval"])
def test_a_stage_says_in_one_line_what_it_did(experiment, stage):
    """Java and Lucene say nothing."""
    command = [sys.executable, "-m", f"stages.{stage}"]
    done = subprocess.run(command, cwd=experiment, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert re.fullmatch(rf"{stage}: .*\d.* \(\d+ s, \d+\.\d+ GiB\)\n", done.stderr)
    if stage == "eval":
        measured = json.loads((experiment / "metrics/eval.json").read_text())
        said = ", ".join(f"{s} {measured[s]['nDCG@10']:.3f}" for s in ("zero_shot", "dense"))
        assert f"{TEST_TOPICS} topics; nDCG@10 {said} (" in done.stderr


def test_an_experiment_from_end_to_end(experiment):
    clone = experiment
    metrics = json.loads((clone / "metrics/eval.json").read_text())
    assert metrics.keys() == {"dense", "zero_shot"}
    for values in metrics.values():
        assert values.keys() >= {"nDCG@10", "recall@100", "RR@10", "AP"}
        assert all(0 <= value <= 1 for value in values.values())
    compared = json.loads((clone / "metrics/compare.json").read_text())
    assert compared["systems"].keys() == {"bm25", "zero_shot", "dense", "rrf", "hybrid"}
    for system in ("zero_shot", "dense"):
        for measure, value in metrics[system].items():
            assert compared["systems"][system][measure]["mean"] == pytest.approx(value)
    run = (clone / "data/runs/test/dense.txt").read_text().splitlines()
    assert len(run) == TEST_TOPICS * 100
    topics = (clone / "plots/topics.csv").read_text().splitlines()
    assert len(topics) == 1 + TEST_TOPICS

    assert "up to date" in sh(clone, "dvc status")
    assert "up to date" in sh(clone, "dvc repro")
    assert "tiny" in sh(clone, "dvc exp show --csv")
    assert "dense.nDCG@10" in sh(clone, "dvc metrics diff")
    best = json.loads((clone / "metrics/train_second.json").read_text())["best"]["nDCG@10"]
    (row,) = re.findall(r"^\| *tiny .*$", sh(clone, "python -m tools.grid"), re.MULTILINE)
    assert f"{best:.4f}" in row
    assert f"{metrics['dense']['nDCG@10']:.4f}" in row
    printed = sh(clone, "python -m tools.diff data/runs/test/zero_shot.txt tiny --top 1")
    means = [metrics[system]["nDCG@10"] for system in ("zero_shot", "dense")]
    assert f"nDCG@10 over {TEST_TOPICS} topics: {means[0]:.4f} -> {means[1]:.4f} " in printed
    valid = json.loads((clone / "metrics/fuse.json").read_text())["valid"]["nDCG@10"]
    printed = sh(clone, "python -m tools.diff tiny workspace --split valid --system hybrid")
    assert f"nDCG@10 over {VALID_TOPICS} topics: {valid:.4f} -> {valid:.4f} (+0.0000)" in printed
    shown = json.loads(sh(clone, "dvc plots show --json"))
    assert not shown.get("errors")
    assert len(shown["data"]) == 12


@pytest.mark.slow
def test_what_is_made_again_is_the_same_byte_for_byte(experiment):
    lock = (experiment / "dvc.lock").read_text()
    stages = "mine train encode@dense index@dense search@dense eval bm25_index bm25_search"
    sh(experiment, f"dvc repro -q -f --no-run-cache -s {stages}")
    assert (experiment / "dvc.lock").read_text() == lock


@pytest.mark.slow
def test_a_grid_in_the_queue(experiment):
    """The README's, smaller: every combination, best validation first."""
    values = "-S train.max_steps=null -S train.epochs=1,2 -S train.lr=1e-6,1e-2"
    sh(experiment, f"dvc exp run -q --queue {values} train")
    sh(experiment, "dvc queue start")
    for _ in range(300):
        status = sh(experiment, "dvc queue status")
        if "Queued" not in status and "Running" not in status:
            break
        time.sleep(1)
    assert status.count("Success") == 4, status
    table = sh(experiment, "python -m tools.grid")
    header, _, *rows = (re.split(r" *\| *", line.strip("| ")) for line in table.splitlines())
    rows = [dict(zip(header, row, strict=True)) for row in rows]
    found = [float(row["validation nDCG@10"]) for row in rows]
    assert found == sorted(found, reverse=True)
    queued = [row for row in rows if row["train.epochs"] in ("1", "2")]
    assert len({(row["train.epochs"], row["train.lr"]) for row in queued}) == 4
    refs = sh(experiment, "git for-each-ref --format=%(refname) refs/exps").split()
    ref_of = {ref.rsplit("/", 1)[1]: ref for ref in refs}
    for row in queued:
        metrics = sh(experiment, f"git show {ref_of[row['experiment']]}:metrics/train_second.json")
        assert row["validation nDCG@10"] == f"{json.loads(metrics)['best']['nDCG@10']:.4f}"
    assert len(set(found)) > 1


@pytest.mark.slow
def test_the_launcher_is_a_parameter(experiment):
    """The stage in two processes, with the losses that it has in one."""

    def losses():
        with (experiment / "plots/train.csv").open() as file:
            return [float(row["loss"]) for row in csv.DictReader(file)]

    params = (experiment / "params.yaml").read_text()
    in_one = losses()
    launcher = "launcher=torchrun --standalone --nproc-per-node 2 -m"
    sh(experiment, f"dvc exp run -q --name two -S '{launcher}' train")
    assert "cmd: torchrun --standalone" in (experiment / "dvc.lock").read_text()
    assert len(in_one) == 4
    assert losses() == pytest.approx(in_one, rel=0.02)  # in bf16, where the processor has it
    (experiment / "params.yaml").write_text(params)
