"""What a training records: its steps, its validations, and which of them is the best.

What a training prints: a progress bar, its validations, and its rates at the end.

Curves that grow while a training runs: rows appended to files, and the loggers of others.

They change no result: the stage writes the same files anew when the training has ended.
"""

import csv
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tqdm import tqdm

from dpr.base.errors import InputError
from dpr.base.progress import progress, say
from dpr.training.batch import Batch


class Step(NamedTuple):
    """One step, counted from 1; the gradient norm is the one before clipping."""

    step: int
    loss: float
    lr: float
    gradient_norm: float
    temperature: float


class Validation(NamedTuple):
    """The encoder after a step; 0 is the one before the training."""

    step: int
    loss: float
    score: float  # what chooses the best
    measured: dict[str, float] = {}  # by name; of a mixture also for each source  # noqa: RUF012


class History(NamedTuple):
    steps: list[Step]
    validations: list[Validation]

    @property
    def best(self) -> Validation:
        """The validation with the highest score; of equal ones the first."""
        return max(self.validations, key=lambda v: v.score)

    def described(self, measure: str) -> str:
        best, before = self.best, self.validations[0]
        scores = f"{measure} {best.score:.4f}, before {before.score:.4f}"
        if self.steps and not best.step:
            kept = "training did not help: the encoder that it began with is kept"
            return f"{len(self.steps)} steps; {kept}; validation {scores}"
        return f"{len(self.steps)} steps; best after {best.step}: validation {scores}"

    def validations_since_best(self) -> int:
        """How many validations have followed the best one."""
        return sum(v.step > self.best.step for v in self.validations)


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


INSTALL = "pip install -r requirements-loggers.txt"


class Watcher(Protocol):
    """Told of each step and validation, those of a resumed training included."""

    def step(self, step: Step) -> None: ...
    def validation(self, validation: Validation) -> None: ...
    def close(self) -> None: ...


class CurveFiles:
    """Two CSV files, of steps and of validations, each row written as soon as it is known."""

    def __init__(self, steps: Path, validations: Path):
        self.paths = (steps, validations)
        for path in self.paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)

    def step(self, step: Step) -> None:
        _append(self.paths[0], Step._fields, step)

    def validation(self, validation: Validation) -> None:
        names = ["step", "loss", *validation.measured]
        _append(
            self.paths[1], names, [validation.step, validation.loss, *validation.measured.values()]
        )

    def close(self) -> None:
        pass


class DvcLive:
    """DVCLive's folder, for Studio and the extension of VS Code."""

    def __init__(self, folder: Path):
        live = _imported("dvclive").Live
        self.live = live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None)

    def step(self, step: Step) -> None:
        self.live.step = step.step
        for name, value in zip(Step._fields[1:], step[1:], strict=True):
            self.live.log_metric(f"train/{name}", value)
        self.live.make_summary()

    def validation(self, validation: Validation) -> None:
        self.live.step = validation.step
        for name, value in {"loss": validation.loss, **validation.measured}.items():
            self.live.log_metric(f"valid/{name}", value)
        self.live.make_summary()

    def close(self) -> None:
        self.live.end()


class TensorBoard:
    """Event files: `tensorboard --logdir .scratch/tensorboard`."""

    def __init__(self, folder: Path):
        _imported("tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        # What a killed training wrote here is told again: purged, or each point is there twice.
        self.writer = SummaryWriter(str(folder), purge_step=0)

    def step(self, step: Step) -> None:
        for name, value in zip(Step._fields[1:], step[1:], strict=True):
            self.writer.add_scalar(f"train/{name}", value, step.step)

    def validation(self, validation: Validation) -> None:
        for name, value in {"loss": validation.loss, **validation.measured}.items():
            self.writer.add_scalar(f"valid/{name}", value, validation.step)

    def close(self) -> None:
        self.writer.close()


class WandB:
    """Weights & Biases; WANDB_MODE=offline keeps it here."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.run = _imported("wandb").init(dir=str(folder), project="dpr")

    def step(self, step: Step) -> None:
        values = zip(Step._fields[1:], step[1:], strict=True)
        self.run.log({f"train/{name}": value for name, value in values}, step=step.step)

    def validation(self, validation: Validation) -> None:
        values = {"loss": validation.loss, **validation.measured}
        self.run.log({f"valid/{n}": v for n, v in values.items()}, step=validation.step)

    def close(self) -> None:
        self.run.finish()


LOGGERS: dict[str, Any] = {"dvclive": DvcLive, "tensorboard": TensorBoard, "wandb": WandB}


@contextmanager
def watching(
    curves: tuple[Path, Path], names: Sequence[str], scratch: Path, training: str, is_first: bool
) -> Iterator[list[Watcher]]:
    """The files of curves and the loggers with these names, which write below `scratch`.

    Args:
        training: names the logger's folder, `scratch`/NAME/`training`: a resumed training goes on
            in its own, and none mixes with another.
        is_first: the other processes watch nothing.
    Raises:
        InputError: if a logger's package is not installed.
    """
    watchers: list[Watcher] = []
    if is_first:
        loggers = [LOGGERS[name](scratch / name / training) for name in names]
        watchers = [CurveFiles(*curves), *loggers]
    try:
        yield watchers
    finally:
        for watcher in watchers:
            watcher.close()


def tell(watchers: Sequence[Watcher], history: History) -> None:
    """All that has happened so far, in order."""
    validations = {validation.step: validation for validation in history.validations}
    steps = {step.step: step for step in history.steps}
    for number in range(len(steps) + 1):
        for watcher in watchers:
            if number in steps:
                watcher.step(steps[number])
            if number in validations:
                watcher.validation(validations[number])


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise InputError(f"params.yaml: loggers: {name} is not installed; {INSTALL}") from None


def _append(path: Path, names: Sequence[str], row: Sequence[Any]) -> None:
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([names, row] if new else [row])
