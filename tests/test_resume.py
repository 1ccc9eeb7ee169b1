"""A killed training goes on from its last state and ends with the bytes of an undisturbed one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import rising

from dpr import checkpoint
from dpr.collections import beir
from dpr.training import state

RECIPES = {
    "plain": {},
    "all": {
        "accumulate": 2,
        "chunk_size": 2,
        "temperature_lr": 0.01,
        "group_by": "passage",
        "schedule": "cosine_restarts",
        "cycles": 2,
    },
    "lora": {"lora_rank": 4},
    "frozen": {"freeze_embeddings": True, "initial_share": 0.3},
}


class Killed(BaseException):
    pass


def dies_at(trainer, step):
    """Make the trainer die in the middle of a step: gradients done, weights not yet changed."""
    update, calls = trainer.optimizer.step, []

    def update_or_die():
        calls.append(1)
        if len(calls) == step:
            raise Killed
        return update()

    trainer.optimizer.step = update_or_die


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    "killed_at",
    [pytest.param(at, marks=[pytest.mark.slow] * (at in (1, 8))) for at in (1, 3, 4, 8, 12)],
)
def test_a_killed_training_ends_with_the_same_bytes(
    make_trainer, collection, tmp_path, recipe, killed_at
):
    negatives = ("d06", "d07", "d08")  # one is drawn for each step
    pairs = [pair._replace(negative_ids=negatives) for pair in beir.read_pairs(collection)]
    beir.write_pairs(collection, pairs)
    chosen = {"max_steps": 12, "dropout": 0.1} | RECIPES[recipe]
    undisturbed = make_trainer(**chosen)
    expected = undisturbed.run()

    file = tmp_path / "scratch/state.safetensors"
    killed = make_trainer(state_file=file, save_every=3, **chosen)
    dies_at(killed, killed_at)
    with pytest.raises(Killed):
        killed.run()
    assert file.exists() == (killed_at > 3)
    torch.manual_seed(99)  # another process has drawn other numbers
    second = make_trainer(state_file=file, save_every=3, **chosen)
    assert second.run() == expected
    weights = undisturbed.encoder.state_dict()
    for name, tensor in second.encoder.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_a_second_kill_does_no_harm(make_trainer, tmp_path):
    chosen = {"max_steps": 9, "dropout": 0.1}
    expected = make_trainer(**chosen).run()
    file = tmp_path / "state.safetensors"
    for at in (4, 2, 3):
        trainer = make_trainer(state_file=file, **chosen)
        dies_at(trainer, at)
        with pytest.raises(Killed):
            trainer.run()
    assert make_trainer(state_file=file, **chosen).run() == expected


def test_the_best_weights_survive_a_kill(make_trainer, tmp_path):
    """The best validation is the one before training: its weights come back at the end."""
    falling = lambda encoder, step: rising(encoder, -step)._replace(step=step)  # noqa: E731
    file = tmp_path / "state.safetensors"
    chosen = {"max_steps": 8, "eval_every": 2, "patience": None}
    killed = make_trainer(falling, state_file=file, **chosen)
    untouched = {name: t.clone() for name, t in killed.encoder.state_dict().items()}
    dies_at(killed, 6)
    with pytest.raises(Killed):
        killed.run()
    second = make_trainer(falling, state_file=file, **chosen)
    assert second.run().best.step == 0
    for name, tensor in second.encoder.state_dict().items():
        assert torch.equal(tensor, untouched[name]), name


@pytest.mark.parametrize("damage", ["cut", "empty", "absent"])
def test_a_damaged_state_is_no_state(make_trainer, tmp_path, damage):
    file = tmp_path / "state.safetensors"
    chosen = {"max_steps": 4}
    expected = make_trainer(state_file=file, **chosen).run()
    content = {"cut": file.read_bytes()[:-100], "empty": b""}.get(damage)
    file.unlink() if content is None else file.write_bytes(content)
    assert state.load(file) is None
    assert make_trainer(state_file=file, **chosen).run() == expected


def test_the_file_of_a_killed_saving_is_no_state(tmp_path, monkeypatch):
    file = tmp_path / "state.safetensors"
    state.save(file, {"weights": {"a": torch.ones(2)}}, {"steps": [[1, 0.1]]})

    def dies(tensors, path, metadata):
        path.write_bytes(b"half")
        raise Killed

    monkeypatch.setattr(state, "save_file", dies)
    with pytest.raises(Killed):
        state.save(file, {"weights": {"a": torch.zeros(2)}}, {"steps": []})
    loaded = state.load(file)
    assert loaded.part("weights")["a"].tolist() == [1, 1]
    assert loaded.numbers == {"steps": [[1, 0.1]]}


KEYS = """
import torch
from dpr import scratch
from dpr.training import schedule

for changes in ({}, {"files": "b"}, {"seed": 43}, {"lr": 1e-5}, {"processes": 2}, {"threads": 1}):
    made = {"files": "a", "seed": 42, "lr": 1e-4, "processes": 1, "threads": 2} | changes
    torch.set_num_threads(made["threads"])
    settings = [made["seed"], ". ", {"lr": made["lr"], "names": list("abc")}, made["processes"]]
    inputs = {"files": made["files"], "settings": settings}
    print(scratch.key(inputs, torch.device("cpu")))
"""


def test_another_process_finds_the_state_and_another_training_does_not():
    """The name that stages/train.py gives it."""
    root = {"PYTHONPATH": str(Path(__file__).parents[1])}
    first, second = (
        subprocess.check_output(
            [sys.executable, "-c", KEYS],
            env=os.environ | root | {"PYTHONHASHSEED": seed},
            text=True,
        ).split()
        for seed in "12"
    )
    assert first == second
    assert len(set(first)) == len(first) == 6


WORKER = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from pathlib import Path
from helpers import rising, settings
from test_resume import Killed, dies_at
from dpr import checkpoint, runtime
from dpr.collections import beir
from dpr.training.pairs import PairSet
from dpr.training.trainer import Trainer
from dpr.training.world import World

runtime.set_up(threads=1, seed=0)
world, folder = World.join(runtime.device()), Path({collection!r})
chosen = settings(max_steps=8, dropout=0.1)

def trainer(state_file=None):
    encoder = checkpoint.load({encoder!r})
    pairs = PairSet.read(folder, beir.read_pairs(folder), encoder, ". ", chosen)
    return Trainer(encoder, pairs, rising, chosen, 0, world, state_file, save_every=3)

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
Path({file!r} + str(world.rank)).write_text("the same")
world.leave()
"""


def test_two_processes_go_on_with_the_dropout_of_each(make_encoder, collection, tmp_path):
    checkpoint.save(make_encoder(), tmp_path / "encoder")
    names = {
        "tests": str(Path(__file__).parent),
        "root": str(Path(__file__).parents[1]),
        "collection": str(collection),
        "encoder": str(tmp_path / "encoder"),
        "file": str(tmp_path / "state.safetensors"),
    }
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(**names))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, "--nproc-per-node", "2", str(script)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [Path(names["file"] + rank).read_text() for rank in "01"] == ["the same"] * 2
    assert "going on after step 3" in done.stdout
