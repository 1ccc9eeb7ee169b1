"""A killed training resumes from its snapshot and ends with the bytes of an undisturbed one."""

import os
import signal
from pathlib import Path

import pytest
import torch
from helpers import rising, two_processes
from training_helpers import Killed, changed, dies_at, weights_of

from dpr.base.errors import InputError
from dpr.base.interrupts import Terminated
from dpr.encoders import checkpoint
from dpr.records import beir
from dpr.training import snapshot

RECIPES = {
    "plain": {},
    "all": {
        **{"accumulate": 2, "chunk_size": 2, "temperature_lr": 0.01, "group_by": "passage"},
        **{"schedule": "cosine_restarts", "cycles": 2},
    },
    "lora": {"lora_rank": 4},
    "frozen": {"freeze_embeddings": True, "initial_share": 0.3},
    "mean": {"ema": 0.8, "initial_share": 0.3},
    "queries": {"at_most": 20, "ema": 0.8},  # by make_query_side
}
# Steps in which it is killed: before the first snapshot, after it, twice, in the last step.
KILLS = {"plain": [3], "all": [4, 2], "lora": [4], "frozen": [5], "mean": [8], "queries": [5]}


@pytest.mark.parametrize(("recipe", "kills"), KILLS.items())
def test_a_killed_training_ends_with_the_same_bytes(
    make_trainer, make_query_side, collection, tmp_path, recipe, kills
):
    make = make_query_side if recipe == "queries" else make_trainer
    negatives = ("d06", "d07", "d08")  # one is drawn for each step
    pairs = [pair._replace(negative_ids=negatives) for pair in beir.read_pairs(collection)]
    beir.write_pairs(collection, pairs)
    chosen = {"max_steps": 8, "dropout": 0.1} | RECIPES[recipe]
    undisturbed = make(**chosen)
    expected = undisturbed.run()
    file = tmp_path / "scratch/snapshot.safetensors"
    for step in kills:  # counted in each process
        killed = make(snapshot=file, save_every=3, **chosen)
        dies_at(killed, step)
        with pytest.raises(Killed):
            killed.run()
        assert file.exists() == (step > 3 or len(kills) > 1)
        torch.manual_seed(99)  # a new process has drawn different numbers
    last = make(snapshot=file, save_every=3, **chosen)
    assert last.run() == expected
    require_same_weights(last, undisturbed)


def require_same_weights(trainer, expected):
    assert not changed(weights_of(expected.encoder), weights_of(trainer.encoder))


def falling(encoder, step):
    return rising(encoder, -step)._replace(step=step)


@pytest.mark.parametrize(
    ("recipe", "validate"), [("all", rising), ("lora", rising), ("mean", falling)]
)
def test_a_finished_training_is_not_done_again(make_trainer, tmp_path, recipe, validate):
    """Its result may be lost after it; a resume gives the same, and the best weights, at once."""
    chosen = {"max_steps": 4, "eval_every": 1, "patience": 2, "dropout": 0.1} | RECIPES[recipe]
    first = make_trainer(validate, snapshot=tmp_path / "state", save_every=1000, **chosen)
    history = first.run()
    assert len(history.steps) == (4 if validate is rising else 2)
    fail = lambda *_: pytest.fail("validated again")  # noqa: E731
    again = make_trainer(fail, snapshot=tmp_path / "state", save_every=1000, **chosen)
    again.step = lambda *_: pytest.fail("trained again")
    assert again.run() == history
    require_same_weights(again, first)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("during", ["step", "save"])
def test_a_training_that_is_told_to_stop_saves_the_step_first(
    make_trainer, tmp_path, number, during
):
    """In step 4, or in the save that follows it."""
    chosen = {"max_steps": 6, "dropout": 0.1}
    expected = make_trainer(**chosen).run()
    stopped = make_trainer(snapshot=tmp_path / "state", save_every=4, **chosen)
    step, save = stopped.step, stopped.snapshots.save

    def step_and_signal(at, batches):
        if at == 4 and during == "step":
            os.kill(os.getpid(), number)
        return step(at, batches)

    def save_and_signal(*args):
        if during == "save":
            os.kill(os.getpid(), number)
        save(*args)

    stopped.step, stopped.snapshots.save = step_and_signal, save_and_signal
    with pytest.raises(Terminated if number == signal.SIGTERM else KeyboardInterrupt):
        stopped.run()
    assert len(snapshot.load(tmp_path / "state")[1]["steps"]) == 4
    assert make_trainer(snapshot=tmp_path / "state", **chosen).run() == expected


@pytest.mark.parametrize("damage", ["cut", "empty", "a bit", "a step", "a folder"])
def test_a_damaged_snapshot_is_an_error(tmp_path, damage):
    file = tmp_path / "state.safetensors"
    snapshot.save(file, {"weights": {"a": torch.ones(99)}}, {"steps": [[1, 0.1]]})
    whole = file.read_bytes()
    file.unlink()
    if damage == "a folder":
        file.mkdir()
    else:
        bit = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
        step = whole.replace(b"[[1, 0.1]]", b"[[2, 0.1]]")
        file.write_bytes({"cut": whole[:-50], "empty": b"", "a bit": bit, "a step": step}[damage])
    with pytest.raises(InputError, match=r"state\.safetensors: cannot be read .*its folder"):
        snapshot.load(file)


def test_a_killed_save_leaves_the_last_snapshot(tmp_path, monkeypatch):
    file = tmp_path / "snapshot.safetensors"
    assert snapshot.load(file) is None
    snapshot.save(file, {"weights": {"a": torch.ones(2)}}, {"steps": [[1, 0.1]]})
    (tmp_path / "other").touch()
    assert file.stat().st_mode == (tmp_path / "other").stat().st_mode  # others may read it

    def dies(tensors, path, metadata):
        path.write_bytes(b"half")
        raise Killed

    monkeypatch.setattr(snapshot, "save_file", dies)
    with pytest.raises(Killed):
        snapshot.save(file, {"weights": {"a": torch.zeros(2)}}, {"steps": []})
    groups, numbers = snapshot.load(file)
    assert groups["weights"]["a"].tolist() == [1, 1]
    assert numbers == {"steps": [[1, 0.1]]}


WORKER = """
import tempfile
from itertools import count
from pathlib import Path
from helpers import rising, settings
from training_helpers import Killed, dies_at
from dpr.encoders import checkpoint
from dpr.base import runtime
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.training.pairs import PairSet
from dpr.training.snapshot import Autosave
from dpr.training.trainer import Trainer
from dpr.base.processes import ProcessGroup

runtime.set_up(threads=1, seed=0)
processes, folder = ProcessGroup.join(runtime.device()), Path({collection!r})
chosen = settings(max_steps=8, dropout=0.1)

def trainer(snapshot=None):
    encoder = checkpoint.load({encoder!r})
    work, corpus = Path(tempfile.mkdtemp(dir=folder)), Corpus(folder, ". ")
    pairs = PairSet(corpus, beir.read_pairs(folder), encoder, chosen, work)
    clock = count().__next__
    autosave = Autosave(snapshot, 3, clock)
    parts = {{"encoder": encoder, "pairs": pairs, "validate": rising, "settings": chosen}}
    return Trainer(**parts, seed=0, processes=processes, autosave=autosave)

undisturbed = trainer()
expected = undisturbed.run()
killed = trainer(Path({file!r}))
dies_at(killed, 5)
try:
    killed.run()
except Killed:
    pass
second = trainer(Path({file!r}))
assert second.run() == expected
weights = undisturbed.encoder.state_dict()
assert all(t.equal(weights[name]) for name, t in second.encoder.state_dict().items())
Path({file!r} + str(processes.rank)).write_text("the same")
processes.leave()
"""


@pytest.mark.slow
def test_two_processes_resume_with_the_dropout_of_each(make_encoder, collection, tmp_path):
    checkpoint.save(make_encoder(), tmp_path / "encoder")
    names = {
        "collection": str(collection),
        "encoder": str(tmp_path / "encoder"),
        "file": str(tmp_path / "snapshot.safetensors"),
    }
    printed = two_processes(tmp_path / "worker.py", WORKER, **names)
    assert [Path(names["file"] + rank).read_text() for rank in "01"] == ["the same"] * 2
    assert "resuming after step 3" in printed
