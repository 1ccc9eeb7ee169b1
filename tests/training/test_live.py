"""What a running training writes is what the ended one writes; loggers see the same."""

import csv
import time

import pytest

from dpr.base.errors import InputError
from dpr.base.files import write_csv
from dpr.training import log
from dpr.training.log import Step


@pytest.fixture
def curves(tmp_path):
    return tmp_path / "plots/train.csv", tmp_path / "plots/valid.csv"


def watched(make_trainer, curves, names=(), training="first-1", **changes):
    with log.watching(curves, names, curves[0].parent, training, True) as watchers:
        trainer = make_trainer(**changes)
        trainer.watchers = watchers
        return trainer, trainer.run()


def test_the_files_are_those_of_the_end(make_trainer, curves, tmp_path):
    _, history = watched(make_trainer, curves)
    write_csv(tmp_path / "steps.csv", Step._fields, history.steps)
    names = ["step", "loss", *history.validations[0].measured]
    rows = [[v.step, v.loss, *v.measured.values()] for v in history.validations]
    write_csv(tmp_path / "validations.csv", names, rows)
    assert curves[0].read_bytes() == (tmp_path / "steps.csv").read_bytes()
    assert curves[1].read_bytes() == (tmp_path / "validations.csv").read_bytes()


def test_a_row_is_there_when_its_step_has_ended(make_trainer, curves):
    seen = []

    class Spy:
        def step(self, step):
            seen.append(len(list(csv.reader(curves[0].open()))) - 1)

        def validation(self, validation):
            pass

    with log.watching(curves, [], curves[0].parent, "first-1", True) as watchers:
        trainer = make_trainer(max_steps=3)
        trainer.watchers = [*watchers, Spy()]
        trainer.run()
    assert seen == [1, 2, 3]


def test_a_resumed_training_has_all_rows(make_trainer, curves, tmp_path):
    watched(make_trainer, curves)
    expected = [path.read_bytes() for path in curves]
    state = tmp_path / "state"

    class Dies:
        def step(self, step):
            if step.step == 7:
                raise KeyboardInterrupt

        def validation(self, validation):
            pass

    trainer = make_trainer(snapshot=state, save_every=1)
    trainer.watchers = [Dies()]
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    watched(make_trainer, curves, snapshot=state, save_every=1)
    assert [path.read_bytes() for path in curves] == expected


def test_tensorboard_has_the_losses(make_trainer, curves):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, history = watched(make_trainer, curves, ["tensorboard"], max_steps=3)
    events = EventAccumulator(str(curves[0].parent / "tensorboard/first-1")).Reload()
    found = [event.value for event in events.Scalars("train/loss")]
    assert found == pytest.approx([step.loss for step in history.steps])


def test_tensorboard_has_each_point_of_a_resumed_training_once(make_trainer, curves):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = curves[0].parent / "tensorboard/first-1"
    watched(make_trainer, curves, ["tensorboard"], max_steps=3)
    watched(make_trainer, curves, ["tensorboard"], "first-2", max_steps=5)
    for _ in range(2):  # its files have the time in seconds in their names
        time.sleep(1.1)
        watched(make_trainer, curves, ["tensorboard"], max_steps=3)
    events = EventAccumulator(str(folder)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3]


def test_dvclive_has_the_losses(make_trainer, curves):
    pytest.importorskip("dvclive")
    _, history = watched(make_trainer, curves, ["dvclive"], max_steps=3)
    (file,) = (curves[0].parent / "dvclive/first-1").rglob("train/loss.tsv")
    rows = list(csv.DictReader(file.open(), delimiter="\t"))
    found = [float(row["loss"]) for row in rows]
    assert found == pytest.approx([step.loss for step in history.steps])


def test_wandb_works_without_a_network(make_trainer, curves, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    watched(make_trainer, curves, ["wandb"], max_steps=3)
    (file,) = (curves[0].parent / "wandb/first-1").rglob("*.wandb")
    assert b"gradient_norm" in file.read_bytes()


def test_a_logger_that_is_not_installed_is_named(curves, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(log, "import_module", missing)
    with (
        pytest.raises(InputError, match="loggers: wandb is not installed; pip install -r"),
        log.watching(curves, ["wandb"], curves[0].parent, "first-1", True),
    ):
        pass


def test_other_processes_watch_nothing(curves):
    with log.watching(curves, ["wandb"], curves[0].parent, "first-1", False) as watchers:
        assert watchers == []
    assert not curves[0].exists()
