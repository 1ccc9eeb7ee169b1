"""Progress of long work: a bar on a terminal, a line per minute elsewhere."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

EVERY = 60.0  # seconds
LINE = "{desc}{n_fmt} of {total_fmt} {unit}, {remaining} left"
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} {unit}, {remaining} left{postfix}"


def progress(rows: Iterable[Any] | None = None, shown: bool = True, **options: Any) -> tqdm:
    """tqdm's bar with tqdm's options; `shown` is False in every process but the first."""
    if not shown or sys.stderr.isatty():
        if "total" in options and "unit_scale" not in options:
            options["bar_format"] = BAR
        return tqdm(rows, disable=not shown, **options)
    if "desc" in options:
        options["desc"] += ": "
    return _Lines(rows, mininterval=EVERY, maxinterval=EVERY, bar_format=LINE, **options)


def say(message: str) -> None:
    """Print a line without breaking the bar."""
    if sys.stderr.isatty():
        tqdm.write(message, file=sys.stdout)
    else:
        print(message, flush=True)  # tqdm would repeat the progress line


class _Lines(tqdm):
    """Progress as log lines; none for work of less than a minute."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if self.n > self.initial:
            print(str(self).strip(), file=sys.stderr, flush=True)

    def close(self) -> None:
        if not self.disable:
            self.disable = True
            self._decr_instances(self)  # type: ignore[attr-defined]  # without tqdm's last line
