"""Ctrl-C and SIGTERM end a command in one line, with the exit code that shells expect."""

import signal
import subprocess
import sys

import pytest
from helpers import ROOT

COMMAND = """
import time
from stages.run import one_line_errors
with one_line_errors("train first"):
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("tidied", flush=True)
"""
HELD = """
import time
from dpr.base.interrupts import held
from stages.run import one_line_errors
with one_line_errors("train first"), held() as signals:
    print("begun", flush=True)
    while True:  # steps
        for _ in range(30 if signals.asked is None else {more}):
            time.sleep(0.1)
        print("a whole step", flush=True)
        if signals.asked:
            raise signals.asked
"""


# A test in the background of a shell has a SIGINT that is ignored.
CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


def stopped(code, *signals):
    command = [sys.executable, "-c", CTRL_C + code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == "begun\n"
        for waited, number in enumerate(signals):
            if waited:
                process.stderr.readline()
            process.send_signal(number)
        out, err = process.communicate(timeout=30)
    return process.returncode, out, err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_ends_in_one_line(number, code):
    returned, out, err = stopped(COMMAND, number)
    assert (returned, out) == (code, "tidied\n")
    assert err == "train first: stopped; finished work is kept: run it again\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_step_that_is_being_computed_is_finished(number, code):
    returned, out, err = stopped(HELD.format(more=1), number)
    assert (returned, out) == (code, "a whole step\n")
    assert err.splitlines()[0].startswith("stopping after this step")
    assert len(err.splitlines()) == 2


def test_a_second_ctrl_c_does_not_wait():
    returned, out, _ = stopped(HELD.format(more=1000), signal.SIGINT, signal.SIGINT)
    assert (returned, out) == (130, "")
