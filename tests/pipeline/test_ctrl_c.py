"""One Ctrl-C on a terminal ends a whole run, and the next one goes on."""

import os
import pty
import select
import signal
import subprocess
import time

import pytest
from helpers import environment, sh

pytestmark = pytest.mark.slow
REPRO = ["python", "-m", "tools.repro"]
STEPS = 200
CHANGES = {
    "save_every: 60": "save_every: 0.1",
    "eval_every: 2 ": f"eval_every: {STEPS} ",
    "window: 8192": "window: 8191",  # encode@zero_shot, which needs no training, is to be run too
}


@pytest.fixture
def long(experiment):
    """long(steps): the experiment with a training that takes a while."""

    def make(steps):
        text = (experiment / "params.yaml").read_text()
        for before, after in (CHANGES | {"max_steps: 4 ": f"max_steps: {steps} "}).items():
            assert before in text
            text = text.replace(before, after, 1)
        (experiment / "params.yaml").write_text(text)
        return experiment

    yield make
    sh(experiment, "dvc exp apply tiny")


def trains(folder, printed):
    """Whether the first round has made some steps. (Before it, there are curves of 4 steps.)"""
    curve = folder / "plots/train.csv"
    begun = "Running stage 'train@first'" in printed and curve.exists()
    return begun and len(curve.read_text().splitlines()) > 10


def on_a_terminal(folder, command):
    """Run a command as a shell does, with a Ctrl-C while it trains.

    Returns its exit code, what it printed after the key, and the seconds from then to its end.
    """
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, environment())
    printed, seen, pressed = b"", 0, 0.0
    while True:
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                printed += os.read(terminal, 65536)
            except OSError:  # its end
                break
        if not pressed and trains(folder, printed.decode()):
            seen, pressed = len(printed), time.monotonic()
            os.write(terminal, b"\x03")
    seconds = time.monotonic() - pressed
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return code, printed[seen:].decode(), seconds


def test_one_ends_all_and_the_next_run_goes_on(long):
    folder = long(STEPS)
    code, after, seconds = on_a_terminal(folder, REPRO)
    assert code == 130, after
    for sign_of_more in ("Running stage", "failed", "Traceback", "ERROR"):
        assert sign_of_more not in after
    assert after.count("repro: stopped; finished work is kept: run it again") == 1
    assert seconds < 60
    rest = subprocess.run(REPRO, cwd=folder, capture_output=True, text=True, env=environment())
    assert rest.returncode == 0, rest.stderr
    assert "resuming after step" in rest.stdout
    assert len((folder / "plots/train.csv").read_text().splitlines()) == 1 + STEPS
    assert "up to date" in sh(folder, "dvc status")
    assert "up to date" in sh(folder, "python -m tools.repro")


def test_sigterm_ends_all(long):
    """As `kill` sends it: to one process, which is not the stage."""
    folder = long(STEPS + 1)
    running = subprocess.Popen(
        REPRO, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    printed = ""
    while not trains(folder, printed):
        printed += (
            running.stdout.readline().decode() if not printed.endswith("train first\n") else ""
        )
        time.sleep(0.05)
        assert running.poll() is None, printed
    running.send_signal(signal.SIGTERM)
    rest = running.communicate(timeout=60)[0].decode()
    assert running.returncode == 143
    assert "train first: stopped" in rest and "repro: stopped" in rest
    assert "failed" not in rest and "Running stage" not in rest
