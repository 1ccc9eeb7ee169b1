"""A run that is stopped, by one Ctrl-C on a terminal or a signal, ends; the next one resumes."""

import os
import pty
import select
import signal
import subprocess
import time

import pytest
from helpers import call, environment, sh

pytestmark = pytest.mark.slow
REPRO = ["python", "-m", "tools.repro"]
STEPS = 200
CHANGES = {
    "save_every: 60": "save_every: 0.1",
    "eval_every: 2 ": f"eval_every: {STEPS} ",
    "window: 8192": "window: 8191",  # so that encode@zero_shot, which needs no training, is to run
}


@pytest.fixture
def long(experiment):
    """long(steps): the experiment with a training that takes a while."""

    def change(steps):
        text = (experiment / "params.yaml").read_text()
        for old, new in (CHANGES | {"max_steps: 4 ": f"max_steps: {steps} "}).items():
            assert old in text
            text = text.replace(old, new, 1)
        (experiment / "params.yaml").write_text(text)
        (experiment / "plots/train.csv").write_text("")
        return experiment

    yield change
    sh(experiment, "dvc exp apply tiny")


def trains(folder):
    """Whether the first round has made some steps."""
    curve = folder / "plots/train.csv"
    return curve.exists() and len(curve.read_text().splitlines()) > 10


def resume(folder, steps):
    rest = call(folder, " ".join(REPRO))
    assert rest.returncode == 0, rest.stderr
    assert "resuming after step" in rest.stdout
    assert len((folder / "plots/train.csv").read_text().splitlines()) == 1 + steps
    assert "up to date" in sh(folder, "dvc status")


def test_one_ctrl_c_ends_all_and_the_next_run_resumes(long):
    folder = long(STEPS)
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe(REPRO[0], REPRO, environment())
    printed, before, pressed = b"", 0, 0.0
    while True:
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                printed += os.read(terminal, 65536)
            except OSError:  # the process has ended
                break
        if not pressed and trains(folder):
            before, pressed = len(printed), time.monotonic()
            os.write(terminal, b"\x03")
    assert time.monotonic() - pressed < 60
    after = printed[before:].decode()
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130, after
    for sign_of_more in ("Running stage", "failed", "Traceback", "ERROR"):
        assert sign_of_more not in after
    assert after.count("repro: stopped; finished work is kept: run it again") == 1
    resume(folder, STEPS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_all_and_the_next_run_resumes(long, number):
    """SIGTERM goes to one process, as `kill` sends it, which is not the stage; SIGKILL to all."""
    steps = STEPS + number
    folder = long(steps)
    options = {"cwd": folder, "env": environment(), "text": True, "start_new_session": True}
    running = subprocess.Popen(REPRO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    while not trains(folder):
        time.sleep(0.05)
        assert running.poll() is None, running.communicate()[0]
    send = os.kill if number == signal.SIGTERM else os.killpg
    send(running.pid, number)
    printed = running.communicate(timeout=60)[0]
    if number == signal.SIGTERM:
        assert running.returncode == 143
        assert "train first: stopped" in printed and "repro: stopped" in printed
        assert "failed" not in printed and "Running stage 'encode" not in printed
    resume(folder, steps)
