"""Ctrl-C and SIGTERM end a command in one line, with the exit code that shells expect."""

import signal
from signal import SIGINT, SIGTERM

import pytest

from dpr.base.interrupts import Terminated, delay_signals
from stages.run import one_line_errors


@pytest.fixture(autouse=True)
def _handlers():
    before = {number: signal.getsignal(number) for number in (SIGINT, SIGTERM)}
    signal.signal(SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(SIGINT, 130), (SIGTERM, 143)])
def test_a_command_ends_in_one_line(capsys, number, code):
    with pytest.raises(SystemExit) as caught, one_line_errors("train first"):
        signal.raise_signal(number)
    assert caught.value.code == code
    assert capsys.readouterr().err.startswith("train first: stopped; ")


@pytest.mark.parametrize(("number", "kind"), [(SIGINT, KeyboardInterrupt), (SIGTERM, Terminated)])
def test_the_first_signal_waits_for_the_end_of_the_step(capsys, number, kind):
    with delay_signals() as pending:
        assert pending == []
        signal.raise_signal(number)
        assert pending == [kind]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(SIGINT)
    assert capsys.readouterr().err.startswith("stopping after this step")
    with pytest.raises(KeyboardInterrupt):  # the handlers are as before
        signal.raise_signal(SIGINT)
