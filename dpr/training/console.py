"""What a training prints: a progress bar, its validations, and its rates at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from dpr.base.progress import progress, say
from dpr.training.batch import Batch
from dpr.training.history import Step


class Console:
    """The first process prints for all. The bar shows only on a terminal."""

    def __init__(self, is_first: bool):
        self.is_first = is_first
        self.seconds, self.pairs, self.tokens = 0.0, 0, 0

    def say(self, message: str) -> None:
        if self.is_first:
            say(message)

    def bar(self, done: int, total: int) -> tqdm:
        return progress(total=total, initial=done, unit="steps", shown=self.is_first)

    @contextmanager
    def timed(self, batches: list[Batch]) -> Iterator[None]:
        """Count the time of a step, and what was trained on in it."""
        started = time.monotonic()
        yield
        self.seconds += time.monotonic() - started
        self.pairs += sum(len(batch.targets.pairs) for batch in batches)
        self.tokens += sum(batch.token_count for batch in batches)

    def say_rates(self) -> None:
        if self.pairs:
            pairs, tokens = self.pairs / self.seconds, self.tokens / self.seconds
            self.say(f"a second: {pairs:,.0f} pairs, {tokens:,.0f} tokens")


def advance(bar: tqdm, step: Step) -> None:
    bar.set_postfix(loss=f"{step.loss:.3f}", lr=f"{step.lr:.1e}", refresh=False)
    bar.update()
