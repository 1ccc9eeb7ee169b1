"""The tables of the benchmarks, and the trainer that they time. Speeds are not tested."""

import argparse
import shutil

import pytest
from helpers import write_params

from benchmarks import encoding, training
from dpr.base.runtime import set_up
from dpr.encoders import checkpoint
from dpr.training import trainer as trainer_module
from dpr.training.gradients import ActivationBudget


def test_a_share_is_printed_only_if_its_reference_rate_was_measured():
    run = {"rate": 10.0, "flop": 2e9, "least": 1.0, "mean": 1.0}
    runs = {"matrix": [{"fp32": 80e9}], encoding.REFERENCE: [run], "this project, int8": [run]}
    rows = [line.split("|")[1:] for line in encoding.table(runs).splitlines() if "|" in line]
    shares = {row[0].strip(): row[4].strip() for row in rows[2:]}
    assert shares == {encoding.REFERENCE: "25%", "this project, int8": "-"}


@pytest.mark.parametrize("changes", [{}, training.AS_SENTENCE_TRANSFORMERS])
def test_the_benchmark_times_the_training_of_the_stage(
    make_encoder, collection, tmp_path, monkeypatch, changes
):
    """The whole loop, with the same memory budget, and memory returned after each step."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path / "params.yaml", {"train_memory": 0.5, "train.passage_max_length": 32})
    checkpoint.save(make_encoder(), tmp_path / training.ENCODER)
    shutil.copytree(collection, tmp_path / training.TRAINING)
    shutil.copytree(collection, tmp_path / training.NEGATIVES)
    monkeypatch.setattr(training.runtime, "set_up", lambda *_: set_up(1, 0))
    budgets, freed = [], []
    record = lambda gib: budgets.append(gib) or ActivationBudget(gib)  # noqa: E731
    monkeypatch.setattr(trainer_module, "ActivationBudget", record)
    monkeypatch.setattr(trainer_module, "return_freed", lambda over: freed.append(over))
    given = {"batch_size": 4, "chunk_size": None, "precision": "fp32", "steps": 2, "device": "cpu"}
    found = training.measure_this_trainer(argparse.Namespace(**given), changes)
    assert budgets == [0.5]
    assert freed == [1.25 * 0.5] * (training.WARM_UP + 2)
    assert found["pairs_per_second"] > 0
