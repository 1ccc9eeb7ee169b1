"""Records of a training, and their watchers: the terminal, files of curves, loggers.

Watchers change no result: at the end, the stage writes the same files anew.
"""

import csv
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from dpr.base.errors import InputError
from dpr.base.progress import progress, say
from dpr.training.batch import Batch


class Step(NamedTuple):
    """One update."""

    step: int  # from 1
    loss: float
    lr: float
    gradient_norm: float  # before clipping
    temperature: float

    def curves(self) -> dict[str, float]:
        return dict(zip(self._fields[1:], self[1:], strict=True))


class Validation(NamedTuple):
    """The encoder after a step."""

    step: int  # 0: before training
    loss: float
    score: float  # chooses the best encoder
    measured: dict[str, float] = {}  # by name; for a mixture, also by source  # noqa: RUF012

    def curves(self) -> dict[str, float]:
        return {"loss": self.loss, **self.measured}


Record = Step | Validation
Watcher = Callable[[Record], None]  # gets each record, including those before a resume


class History(NamedTuple):
    steps: list[Step]
    validations: list[Validation]

    @property
    def best(self) -> Validation:
        """The first validation with the highest score."""
        return max(self.validations, key=lambda v: v.score)

    def in_order(self) -> list[Record]:
        """All records in order. A validation follows its step."""
        return sorted([*self.steps, *self.validations], key=lambda record: record.step)

    def described(self, measure: str) -> str:
        best, before = self.best, self.validations[0]
        scores = f"{measure} {best.score:.4f}, before {before.score:.4f}"
        if self.steps and not best.step:
            outcome = "training did not help: the initial encoder is kept"
            return f"{len(self.steps)} steps; {outcome}; validation {scores}"
        return f"{len(self.steps)} steps; best after {best.step}: validation {scores}"

    def validations_since_best(self) -> int:
        return sum(v.step > self.best.step for v in self.validations)


class Console:
    """Prints in the first process only. The bar needs a terminal."""

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
        """Add a step's time, pairs and tokens to the rates."""
        started = time.monotonic()
        yield
        self.seconds += time.monotonic() - started
        self.pairs += sum(len(batch.targets.pairs) for batch in batches)
        self.tokens += sum(batch.token_count for batch in batches)

    def say_rates(self) -> None:
        if self.pairs:
            pairs, tokens = self.pairs / self.seconds, self.tokens / self.seconds
            self.say(f"a second: {pairs:,.0f} pairs, {tokens:,.0f} tokens")


class CurveFiles:
    """Two CSV files, of steps and of validations. Each record appends a row at once."""

    def __init__(self, steps: Path, validations: Path):
        self.paths = {Step: steps, Validation: validations}
        for path in self.paths.values():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)

    def __call__(self, record: Record) -> None:
        path, row = self.paths[type(record)], {"step": record.step, **record.curves()}
        header = [] if path.exists() else [row.keys()]
        with path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([*header, row.values()])


def _logger(name: str, folder: Path) -> Any:
    """A tracker of accelerate, not yet started, for files in `folder`."""
    from accelerate import tracking  # here, since it loads slowly

    if name == "dvclive":  # for Studio and the extension of VS Code
        options = {"save_dvc_exp": False, "dvcyaml": None, "report": None}
        return tracking.DVCLiveTracker(dir=str(folder), **options)
    if name == "tensorboard":  # tensorboard --logdir .scratch/tensorboard
        # A resumed training logs its earlier points again. Without a purge, they would be double.
        return tracking.TensorBoardTracker(folder.name, folder.parent, purge_step=0)
    folder.mkdir(parents=True, exist_ok=True)
    return tracking.WandBTracker("dpr", dir=str(folder))  # WANDB_MODE=offline keeps the data here


@contextmanager
def watching(
    curves: tuple[Path, Path], loggers: Mapping[str, Path], is_first: bool
) -> Iterator[list[Watcher]]:
    """Files of curves and loggers, open until the training ends.

    Args:
        curves: the CSV files of steps and of validations.
        loggers: {name: folder}, with a folder per training, for all its resumes.
        is_first: the other processes watch nothing.
    Raises:
        InputError: if a logger's package is not installed.
    """
    with ExitStack() as closing:
        watchers: list[Watcher] = [CurveFiles(*curves)] if is_first else []
        for name, folder in loggers.items() if is_first else ():
            tracker = _logger(name, folder)
            try:
                tracker.start()
            except ImportError:
                raise InputError(
                    f"params.yaml: loggers: {name} is not installed; "
                    "python tools/install.py requirements-loggers.txt"
                ) from None
            closing.callback(tracker.finish)
            watchers.append(partial(_log, tracker))
        yield watchers


def _log(tracker: Any, record: Record) -> None:
    kind = "train" if isinstance(record, Step) else "valid"
    values = {f"{kind}/{name}": value for name, value in record.curves().items()}
    tracker.log(values, step=record.step)
