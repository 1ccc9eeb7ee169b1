"""What DVC runs again after a change, and what it leaves as it is."""

import contextlib
import re

import pytest
from dvc.repo import Repo
from helpers import sh

from dpr.base.files import fingerprint, read_json, sha256

TRAIN = {"train@first", "train@second"}
COMMENT = "# a comment\n"


def would_run(clone, *changes):
    """The stages that `dvc repro --dry` names after changes of files: (name, old, new).

    A text is appended if `old` is empty.
    """
    before = {name: (clone / name).read_text() for name, _, _ in changes}
    try:
        for name, old, new in changes:
            text = (clone / name).read_text()
            assert old in text
            (clone / name).write_text(text.replace(old, new, 1) if old else text + new)
        with contextlib.chdir(clone), Repo() as repo:
            return {stage.addressing for stage in repo.reproduce(dry=True)}
    finally:
        for name, text in before.items():
            (clone / name).write_text(text)


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        # reranker takes its snapshots from dpr/training, and uses a finished training again
        ([("dpr/training/loss.py", "", COMMENT)], TRAIN | {"reranker"}),
        ([("versions.yaml", 'scipy: "', 'scipy: "9.')], {"compare"}),
        ([("params.yaml", "  lr: 1e-4", "  lr: 3e-5")], TRAIN | {"check"}),
        ([("params.yaml", "lr_ratio: 0.5", "lr_ratio: 1")], {"check", "train@second"}),
        (
            [  # nothing here affects an output
                ("params.yaml", "save_every: 60", "save_every: 5"),
                ("params.yaml", "loggers: []", "loggers: [dvclive]"),
                ("params.yaml", "train_memory: auto", "train_memory: 1"),
                ("dpr/settings/whole.py", "", COMMENT),
                ("stages/run.py", "", COMMENT),
                ("tools/diff.py", "", COMMENT),
            ],
            set(),
        ),
    ],
)
def test_a_change_runs_the_stages_that_depend_on_it(experiment, changes, stages):
    assert would_run(experiment, *changes) == stages


def run(clone, command):
    """The stages that a command of DVC runs, and those that it skips."""
    printed = sh(clone, command)
    started = set(re.findall(r"^Running stage '(.+)':", printed, re.MULTILINE))
    skipped = set(re.findall(r"^Stage '(.+)' didn't change, skipping", printed, re.MULTILINE))
    return started, skipped


@pytest.mark.slow
def test_training_the_query_encoder_encodes_no_passage(restored):
    """The vectors are those of zero_shot: a new training changes neither them nor the index."""
    embeddings = [restored / "data/embeddings" / system for system in ("zero_shot", "dense")]
    assert len({fingerprint([folder]) for folder in embeddings}) == 2  # trained in both roles

    def encodings():
        """{file: time} of the encodings with zero_shot's vectors."""
        files = (restored / ".scratch/encode").glob("*/vectors.npy")
        zero_shot = sha256(embeddings[0] / "vectors.npy")
        return {file: file.stat().st_mtime_ns for file in files if sha256(file) == zero_shot}

    before = encodings()
    assert before
    started, _ = run(restored, "dvc exp run -S train.roles=query")
    assert started >= {"vectors@first", "train@first", "encode@dense", "index@dense"}
    assert not started & {"encode@zero_shot", "prepare", "init"}
    assert len({fingerprint([folder]) for folder in embeddings}) == 1
    assert encodings() == before  # no file of vectors was written again, or elsewhere
    first = read_json(restored / "metrics/train.json")
    zero_shot, trained = (restored / "data/encoders" / s for s in ("zero_shot", "first"))
    weights = [zero_shot / "model.safetensors", trained / "query_0_Transformer/model.safetensors"]
    assert len({fingerprint([file]) for file in weights}) == 2  # it has been trained

    started, skipped = run(restored, "dvc exp run -S train.lr=1e-2")
    assert started >= {"train@first", "train@second", "search@dense"}
    assert skipped >= {"vectors@first", "mine@first", "encode@dense", "index@dense"}
    assert read_json(restored / "metrics/train.json") != first


@pytest.mark.slow
def test_the_keys_of_the_second_round_are_optional(restored):
    """Without its roles it trains both encoders, and needs no vectors of all passages."""
    params, vectors = restored / "params.yaml", restored / "data/vectors/second"
    assert (vectors / "vectors.npy").exists()
    params.write_text(params.read_text().replace("    symmetric: false\n", "", 1))
    started, skipped = run(restored, "dvc repro train@second")
    assert "train@second" in started and "vectors@second" in skipped
    for key in ("    roles: query\n", "    max_steps: 2\n"):
        assert key in params.read_text()
        params.write_text(params.read_text().replace(key, "", 1))
    run(restored, "dvc repro train@second")
    assert [path.name for path in vectors.iterdir()] == ["unused"]
    assert read_json(restored / "metrics/train_second.json")["steps"] == 4
