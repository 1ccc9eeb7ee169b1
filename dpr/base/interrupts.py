"""Ctrl-C and SIGTERM: they end a command at once, or after the step that is being computed."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


class Terminated(KeyboardInterrupt):
    """What SIGTERM raises, as Ctrl-C raises KeyboardInterrupt."""


def raise_on_sigterm() -> None:
    """For a command: its files are closed and removed as after Ctrl-C."""

    def handle(*_: Any) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, handle)


@dataclass
class Held:
    """What was asked for, and waits."""

    asked: type[KeyboardInterrupt] | None = None


@contextmanager
def held() -> Iterator[Held]:
    """Signals wait until the block asks for them; a second one does not wait."""
    waiting = Held()

    def handle(number: int, _: Any) -> None:
        kind = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if waiting.asked:
            raise kind
        waiting.asked = kind
        print("stopping after this step (a second Ctrl-C does not wait)", file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():
        yield waiting  # only the main thread may handle signals
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield waiting
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
