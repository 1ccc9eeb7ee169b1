"""What the rounds of training leave as it is, through real DVC in a temporary clone."""

import contextlib
import re

import pytest
from dvc.repo import Repo
from helpers import sh

from dpr.base.files import fingerprint, read_json

SECOND = {"check", "train@second"}


def run(experiment, overrides):
    """The stages that `dvc exp run` runs with these parameters, and those that it skips."""
    printed = sh(experiment, f"dvc exp run {overrides}")
    started = set(re.findall(r"^Running stage '(.+)':", printed, re.MULTILINE))
    skipped = set(re.findall(r"^Stage '(.+)' didn't change, skipping", printed, re.MULTILINE))
    return started, skipped


def would_run(experiment, old, new):
    """The stages that `dvc repro --dry` names after a change in params.yaml."""
    path = experiment / "params.yaml"
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new, 1))
    try:
        with contextlib.chdir(experiment), Repo() as repo:
            return {stage.addressing for stage in repo.reproduce(dry=True)}
    finally:
        path.write_text(before)


@pytest.fixture
def back(experiment):
    """Parameters, outputs and dvc.lock as they were."""
    yield
    sh(experiment, "dvc exp apply -q tiny")


@pytest.mark.slow
def test_training_the_query_encoder_encodes_no_passage(experiment, back):
    """The vectors come from zero_shot, and another training changes neither them nor the index."""
    made = [experiment / "data/embeddings" / system for system in ("zero_shot", "dense")]
    assert len({fingerprint([folder]) for folder in made}) == 2  # trained in both roles

    started, _ = run(experiment, "-S train.roles=query")
    assert started >= {"vectors@first", "train@first", "encode@dense", "index@dense"}
    assert not started & {"encode@zero_shot", "prepare", "init"}
    assert len({fingerprint([folder]) for folder in made}) == 1
    # A copy keeps the time at which the file was written.
    assert len({(folder / "vectors.npy").stat().st_mtime_ns for folder in made}) == 1
    first = read_json(experiment / "metrics/train.json")
    untrained, trained = (experiment / "data/encoders" / s for s in ("zero_shot", "first"))
    weights = [untrained / "model.safetensors", trained / "query/model.safetensors"]
    assert len({fingerprint([file]) for file in weights}) == 2  # it has been trained

    again = would_run(experiment, "  lr: 1e-4", "  lr: 1e-3")
    assert again == {"check", "train@first", "train@second"}

    started, skipped = run(experiment, "-S train.lr=1e-2")
    assert started >= {"train@first", "train@second", "search@dense"}
    assert skipped >= {"vectors@first", "mine@first", "encode@dense", "index@dense"}
    assert read_json(experiment / "metrics/train.json") != first
    assert would_run(experiment, "lr_ratio: 0.5", "lr_ratio: 0.7") == SECOND


@pytest.mark.slow
def test_the_keys_of_the_second_round_are_optional(experiment, back):
    """Without its roles it trains both encoders, and needs no vectors of all passages."""
    params = experiment / "params.yaml"
    vectors = experiment / "data/vectors/second"
    assert (vectors / "vectors.npy").exists()
    params.write_text(params.read_text().replace("    symmetric: false\n", "", 1))
    printed = sh(experiment, "dvc repro train@second")
    assert "Running stage 'train@second'" in printed
    assert "Stage 'vectors@second' didn't change" in printed
    for key in ("    roles: query\n", "    max_steps: 2\n"):
        assert key in params.read_text()
        params.write_text(params.read_text().replace(key, "", 1))
    sh(experiment, "dvc repro train@second")
    assert [path.name for path in vectors.iterdir()] == ["unused"]
    assert read_json(experiment / "metrics/train_second.json")["steps"] == 4
