"""Killing a pipeline at random moments, through real DVC."""

import os
import random
import signal
import subprocess
import time

import pytest
from helpers import clone_into, environment, sh

SETTINGS = {
    "model.passage_max_length": 16,
    "train.max_steps": 600,
    "save_every": 0.1,
    "train.eval_every": 100,
    "train.valid_passages": 200,
    "train.dropout": 0.1,
    "second.use": "false",
    "encode.window": 1000,
}
TARGETS = "train encode@dense"
KILLS = 10


@pytest.mark.slow
def test_ten_kills_leave_the_result_of_an_undisturbed_run(tmp_path, tiny_model):
    """SIGKILL to DVC and the stage that it runs; then `dvc repro` again."""
    clone = clone_into(tmp_path / "clone")
    overrides = " ".join(f"-S {key}={value}" for key, value in SETTINGS.items())
    sh(clone, f"dvc exp run -q --name once -S model.name={tiny_model} {overrides} {TARGETS}")
    lock, curve = (clone / "dvc.lock").read_text(), (clone / "plots/train.csv").read_text()
    assert len(curve.splitlines()) == 1 + 600

    def check_result():
        assert (clone / "dvc.lock").read_text() == lock
        assert (clone / "plots/train.csv").read_text() == curve

    again = f"dvc repro -f --no-run-cache -s {TARGETS}"
    rng, kills, resumed = random.Random(0), 0, 0
    while kills < KILLS:
        running = subprocess.Popen(
            again.split(" "),
            cwd=clone,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        time.sleep(rng.uniform(8, 25))
        finished = running.poll() is not None
        if not finished:
            os.killpg(running.pid, signal.SIGKILL)
            kills += 1
            if (clone / "dvc.lock").read_text() != lock:
                # DVC writes it in place: a kill may truncate it. Do as `git restore dvc.lock`.
                (clone / "dvc.lock").write_text(lock)
        printed = running.communicate()[0]
        resumed += "resuming after step" in printed
        if finished:  # before the kill; the next `dvc repro` begins again
            assert running.returncode == 0, printed
            check_result()
    assert resumed >= KILLS // 2
    sh(clone, f"dvc repro --no-run-cache -s {TARGETS}")
    check_result()
