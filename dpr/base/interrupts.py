"""Ctrl-C and SIGTERM: they end a command at once, or after the current step."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, as KeyboardInterrupt is on Ctrl-C."""


def raise_on_sigterm() -> None:
    """Let a command close and remove its files on SIGTERM, as on Ctrl-C."""

    def handle(*_: Any) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, handle)


@dataclass
class Held:
    """The exception of a signal that waits for the end of the step, or None."""

    asked: type[KeyboardInterrupt] | None = None


@contextmanager
def held() -> Iterator[Held]:
    """Hold the first signal until the block looks at it; a second signal raises at once."""
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
