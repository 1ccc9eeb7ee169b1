"""The records of a training: its last line, files of curves that grow, and loggers."""

import csv
import sys
import time

import pytest
import torch

from dpr.base.errors import InputError
from dpr.base.files import write_csv
from dpr.training.log import History, Step, Validation, watching

STEP = Step(1, 0.5, 1e-4, 1.0, 0.05)


@pytest.mark.parametrize(
    ("scores", "steps", "described"),
    [
        ([0.4, 0.5], 2, "2 steps; best after 1: validation nDCG@10 0.5000, before 0.4000"),
        (
            [0.4, 0.3],
            2,
            "2 steps; training did not help: the initial encoder is kept; validation "
            "nDCG@10 0.4000, before 0.4000",
        ),
        ([0.4], 0, "0 steps; best after 0: validation nDCG@10 0.4000, before 0.4000"),
    ],
)
def test_a_training_that_did_not_help_says_so(scores, steps, described):
    history = History([STEP] * steps, [Validation(i, 0.0, s) for i, s in enumerate(scores)])
    assert history.described("nDCG@10") == described


@pytest.fixture
def curves(tmp_path):
    return tmp_path / "plots/train.csv", tmp_path / "plots/valid.csv"


@pytest.fixture
def watched(make_trainer, curves, tmp_path):
    """watched("tensorboard", max_steps=...) -> the history of a training with this logger."""

    def run(logger=None, training="first-1", **changes):
        loggers = {logger: tmp_path / training} if logger else {}
        with watching(curves, loggers, True) as watchers:
            trainer = make_trainer(**changes)
            trainer.watchers = watchers
            return trainer.run()

    return run


def test_the_curves_grow_step_by_step_to_those_of_the_end(watched, make_trainer, curves, tmp_path):
    rows = []
    with watching(curves, {}, True) as watchers:
        trainer = make_trainer()
        count = lambda record: rows.append(len(list(csv.reader(curves[0].open()))) - 1)  # noqa: E731
        trainer.watchers = [*watchers, lambda record: isinstance(record, Step) and count(record)]
        history = trainer.run()
    assert rows == list(range(1, 13))
    write_csv(tmp_path / "steps.csv", Step._fields, history.steps)
    names = ["step", "loss", *history.validations[0].measured]
    validated = [[v.step, v.loss, *v.measured.values()] for v in history.validations]
    write_csv(tmp_path / "validations.csv", names, validated)
    assert curves[0].read_bytes() == (tmp_path / "steps.csv").read_bytes()
    assert curves[1].read_bytes() == (tmp_path / "validations.csv").read_bytes()


def test_a_resumed_training_has_all_rows(watched, make_trainer, curves, tmp_path):
    watched(max_steps=8)
    expected = [path.read_bytes() for path in curves]

    def dies(record):
        if isinstance(record, Step) and record.step == 7:
            raise KeyboardInterrupt

    chosen = {"snapshot": tmp_path / "state", "save_every": 1, "max_steps": 8}
    trainer = make_trainer(**chosen)
    trainer.watchers = [dies]
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    watched(**chosen)
    assert [path.read_bytes() for path in curves] == expected


def test_tensorboard_has_each_point_of_a_resumed_training_once(watched, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    watched("tensorboard", max_steps=3)
    watched("tensorboard", "first-2", max_steps=5)
    for _ in range(2):  # its files have the time in seconds in their names
        time.sleep(1.1)
        history = watched("tensorboard", max_steps=3)
    events = EventAccumulator(str(tmp_path / "first-1")).Reload().Scalars("train/loss")
    assert [event.step for event in events] == [1, 2, 3]
    assert [event.value for event in events] == pytest.approx([s.loss for s in history.steps])


def test_dvclive_has_the_losses(watched, tmp_path):
    pytest.importorskip("dvclive")
    history = watched("dvclive", max_steps=3)
    (file,) = (tmp_path / "first-1").rglob("train/loss.tsv")
    rows = list(csv.DictReader(file.open(), delimiter="\t"))
    assert [int(row["step"]) for row in rows] == [1, 2, 3]
    assert [float(row["loss"]) for row in rows] == pytest.approx([s.loss for s in history.steps])


def test_wandb_works_without_a_network(watched, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    watched("wandb", max_steps=3)
    (file,) = (tmp_path / "first-1").rglob("*.wandb")
    assert b"gradient_norm" in file.read_bytes()


@pytest.mark.parametrize("logger", ["dvclive", "tensorboard", "wandb"])
def test_a_logger_that_is_not_installed_is_named(curves, tmp_path, monkeypatch, logger):
    monkeypatch.delattr(torch.utils, "tensorboard", raising=False)
    for package in ("dvclive", "tensorboard", "torch.utils.tensorboard", "tensorboardX", "wandb"):
        monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(InputError, match=f"loggers: {logger} is not installed; python tools/"),
        watching(curves, {logger: tmp_path / logger}, True),
    ):
        pass


def test_other_processes_watch_nothing(curves, tmp_path):
    with watching(curves, {"wandb": tmp_path / "wandb"}, False) as watchers:
        assert watchers == []
    assert not curves[0].exists()
