"""The whole graph through real DVC, with a tiny encoder, in a temporary clone."""

import csv
import json
import re
import shutil
from contextlib import chdir
from pathlib import Path

import pytest
from graph_helpers import STEPS, outs
from helpers import PRINTED, call, clone_into, sh
from small_collection import TEST_TOPICS, VALID_TOPICS

from dpr.base.errors import InputError
from dpr.base.files import fingerprint, read_json, sha256
from stages import revisions

COST = r" \(\d+ s, \d+\.\d+ GiB\)\n"


def test_stages_say_in_one_line_what_they_did(experiment):
    """Java and Lucene say nothing."""
    said = (experiment / PRINTED).read_text()
    said = re.sub(".*found in sys.modules after import.*\n", "", said)  # forked_dvc.py causes it
    last = ("search dense", "eval", "fuse", "rerank", "compare")
    for stages in (("bm25_index", "bm25_search"), last):
        lines = "".join(rf"{stage}: .*\d.*{COST}" for stage in stages)
        assert re.search(f"^{lines}", said, re.MULTILINE)
    measured = read_json(experiment / "metrics/eval.json")
    means = ", ".join(f"{s} {measured[s]['nDCG@10']:.3f}" for s in ("zero_shot", "dense"))
    assert f"\neval: {TEST_TOPICS} topics; nDCG@10 {means} (" in said


@pytest.mark.parametrize("stage", [pytest.param("bm25_search", marks=pytest.mark.slow), "eval"])
def test_a_stage_says_so_in_a_process_of_its_own(experiment, stage):
    done = call(experiment, f"python -m stages.{stage}")
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(rf"{stage}: .*\d.*{COST}", done.stderr)


def test_an_experiment_from_end_to_end(experiment, printed):
    metrics = read_json(experiment / "metrics/eval.json")
    compared = read_json(experiment / "metrics/compare.json")["systems"]
    assert metrics.keys() == {"dense", "zero_shot"}
    assert compared.keys() == {"bm25", "zero_shot", "dense", "rrf", "hybrid", "reranked"}
    for system, values in metrics.items():
        assert values.keys() == {"nDCG@10", "AP", "RR@10", "recall@100", "judged@10"}
        for measure, value in values.items():
            assert 0 <= value <= 1
            assert compared[system][measure]["mean"] == pytest.approx(value)
    run = (experiment / "data/runs/test/dense.txt").read_text().splitlines()
    assert len(run) == TEST_TOPICS * 100
    topics = (experiment / "plots/topics.csv").read_text().splitlines()
    assert len(topics) == 1 + TEST_TOPICS

    assert "up to date" in printed("dvc status")
    assert "tiny" in printed("dvc exp show --csv")
    assert "dense.nDCG@10" in printed("dvc metrics diff")
    shown = json.loads(sh(experiment, "dvc plots show --json"))
    assert not shown.get("errors")
    assert len(shown["data"]) == 12
    compared = json.loads(sh(experiment, "dvc plots diff tiny HEAD --json"))
    assert compared["data"].keys() == shown["data"].keys()


def test_grid_and_diff_print_the_figures_of_an_experiment(experiment, printed):
    metrics = read_json(experiment / "metrics/eval.json")
    best = read_json(experiment / "metrics/train_second.json")["best"]["nDCG@10"]
    (row,) = re.findall(r"^\| *tiny .*$", printed("python -m tools.grid"), re.MULTILINE)
    assert f"{best:.4f}" in row
    assert f"{metrics['dense']['nDCG@10']:.4f}" in row
    found = printed("python -m tools.diff data/runs/test/zero_shot.txt tiny --top 1")
    means = [metrics[system]["nDCG@10"] for system in ("zero_shot", "dense")]
    assert f"nDCG@10 over {TEST_TOPICS} topics: {means[0]:.4f} -> {means[1]:.4f} " in found
    valid = read_json(experiment / "metrics/fuse.json")["valid"]["nDCG@10"]
    found = printed("python -m tools.diff tiny workspace --split valid --system hybrid")
    assert f"nDCG@10 over {VALID_TOPICS} topics: {valid:.4f} -> {valid:.4f} (+0.0000)" in found


@pytest.mark.slow
def test_what_is_made_again_is_the_same_byte_for_byte(experiment):
    """By `dvc repro` itself, each stage in its own process; Lucene's index differs each time."""
    lock = (experiment / "dvc.lock").read_text()
    stages = ("@".join(filter(None, step)) for step in STEPS if step[0] != "bm25_index")
    sh(experiment, f"dvc repro -q -f --no-run-cache -s {' '.join(stages)}")
    assert (experiment / "dvc.lock").read_text() == lock


@pytest.mark.slow
def test_dvc_makes_again_what_was_changed(experiment):
    """One bit of every file that a stage has made: `dvc status` names it, `dvc repro` mends it."""
    paths = sorted({out for step in STEPS for out in outs(*step)})
    of_path = {
        path: [p for p in (experiment / path, *(experiment / path).rglob("*")) if p.is_file()]
        for path in paths
    }
    before = {file: sha256(file) for files in of_path.values() for file in files}
    lock = (experiment / "dvc.lock").read_bytes()
    changed = {file for file in before if file.stat().st_size}
    for file in changed:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.unlink()  # it may be a link into DVC's cache
        file.write_bytes(data)
    named = set(re.findall(r"modified: +(.*)", sh(experiment, "dvc status")))
    assert {path for path, files in of_path.items() if changed & set(files)} <= named
    sh(experiment, "dvc repro -q")
    assert {file: sha256(file) for file in before} == before
    assert (experiment / "dvc.lock").read_bytes() == lock


def test_an_experiment_is_a_model(experiment, monkeypatch):
    monkeypatch.chdir(experiment)
    with revisions.model_folder("exp:tiny") as folder:
        assert fingerprint([Path(folder)]) == fingerprint([Path("data/encoders/dense")])
    with (
        pytest.raises(InputError, match=r"model\.name: exp:none: no such experiment or Git rev"),
        revisions.model_folder("exp:none"),
    ):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("queue", ["", "--queue"])
def test_a_training_starts_from_an_experiment(restored, queue):
    """Its vectors before training are those that the experiment ended with."""
    changes = "-S model.name=exp:tiny -S data.version=again -S train.max_steps=0"
    sh(restored, f"dvc exp run -q --name from-tiny{queue} {queue} {changes}")
    if queue:
        sh(restored, "dvc queue start")
        sh(restored, f"dvc queue logs --follow from-tiny{queue}")
    read = f"dvc.api.read('data/encoders/zero_shot/passage_side.json', rev='from-tiny{queue}')"
    before = sh(restored, f'python -c "import dvc.api; print({read})"')
    with chdir(restored), revisions.model_folder("exp:tiny") as folder:
        assert before.strip() == (Path(folder) / "passage_side.json").read_text().strip()


def experiments(clone, names):
    """{name: its commit}"""
    refs = sh(clone, "git for-each-ref --format=%(refname) refs/exps").split()
    return {name: next(ref for ref in refs if ref.endswith(f"/{name}")) for name in names}


@pytest.mark.slow
def test_a_grid_in_the_queue_makes_what_one_run_makes(experiment):
    """The README's, smaller, by two workers: every combination, best validation first."""
    values = "-S train.max_steps=null -S train.epochs=1,2 -S train.lr=1e-6,1e-2"
    sh(experiment, f"dvc exp run -q --queue {values} train")
    status = sh(experiment, "dvc queue status")
    queued = re.findall(r"^[0-9a-f]{7} +(\S+) ", status, re.MULTILINE)
    sh(experiment, "dvc queue start -j 2")
    for name in queued:
        sh(experiment, f"dvc queue logs --follow {name}")
    table = sh(experiment, "python -m tools.grid")
    header, _, *lines = (re.split(r" *\| *", line.strip("| ")) for line in table.splitlines())
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    rows = [row for row in rows if row["experiment"] in queued]
    measured = [float(row["validation nDCG@10"]) for row in rows]
    assert measured == sorted(measured, reverse=True) and len(set(measured)) > 1
    assert len({(row["train.epochs"], row["train.lr"]) for row in rows}) == len(queued) == 4
    commits = experiments(experiment, queued)
    for row in rows:
        metrics = sh(experiment, f"git show {commits[row['experiment']]}:metrics/train_second.json")
        assert row["validation nDCG@10"] == f"{json.loads(metrics)['best']['nDCG@10']:.4f}"
    one = f"-S train.max_steps=null -S train.epochs={rows[0]['train.epochs']}"
    one += f" -S train.lr={rows[0]['train.lr']}"
    shutil.rmtree(experiment / ".scratch")  # or finished work would be used again
    sh(experiment, f"dvc exp run -q -f --temp --name alone {one} train")
    commit = experiments(experiment, ["alone"])["alone"]
    locks = [f"{ref}:dvc.lock" for ref in (commit, commits[rows[0]["experiment"]])]
    assert len({sh(experiment, f"git show {lock}") for lock in locks}) == 1


@pytest.mark.slow
def test_the_launcher_is_a_parameter(experiment, restored):
    """Stages in two processes: the losses that training has in one, and the bytes of a run."""

    def losses():
        with (experiment / "plots/train.csv").open() as file:
            return [float(row["loss"]) for row in csv.DictReader(file)]

    in_one, run = losses(), experiment / "data/runs/test/zero_shot.txt"
    run_in_one = run.read_bytes()
    launcher = "launcher=torchrun --standalone --nproc-per-node 2 -m"
    sh(experiment, f"dvc exp run -q --name two -S '{launcher}' train search@zero_shot")
    assert "cmd: torchrun --standalone" in (experiment / "dvc.lock").read_text()
    assert len(in_one) == 4
    assert losses() == pytest.approx(in_one, rel=0.02)  # in bf16, where the processor has it
    assert run.read_bytes() == run_in_one


@pytest.mark.slow
def test_what_is_pulled_is_not_computed(experiment, tmp_path):
    sh(experiment, f"dvc remote add -d store {tmp_path / 'store'}")
    try:
        sh(experiment, "dvc push -q")
        other = clone_into(tmp_path / "clone")
        tracked = [*(experiment / "metrics").iterdir(), *(experiment / "plots").iterdir()]
        tracked += [experiment / file for file in ("params.yaml", "dvc.lock", "data/manifest.json")]
        for file in tracked:
            (other / file.relative_to(experiment)).write_bytes(file.read_bytes())
        sh(other, f"dvc remote add -d store {tmp_path / 'store'}")
        sh(other, "dvc pull -q")
        assert "Running stage" not in sh(other, "dvc repro")
        assert "up to date" in sh(other, "dvc status")
    finally:
        sh(experiment, "git restore .dvc/config")
