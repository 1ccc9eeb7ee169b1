"""Ctrl-C and SIGTERM: they end a command at once, or after the current step."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, as KeyboardInterrupt is on Ctrl-C."""


Pending = list[type[KeyboardInterrupt]]  # exceptions that a block has yet to raise; at most one


def raise_on_sigterm() -> None:
    """On SIGTERM, let a command close and remove its files as on Ctrl-C."""

    def handle(*_: Any) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, handle)


@contextmanager
def delay_signals() -> Iterator[Pending]:
    """Put the first signal into a list, which the block must check. A second signal raises at once.

    Only the main thread may handle signals; in other threads the list stays empty.
    """
    pending: Pending = []

    def handle(number: int, _: Any) -> None:
        kind = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if pending:
            raise kind
        pending.append(kind)
        print("stopping after this step (a second Ctrl-C does not wait)", file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():
        yield pending
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield pending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
