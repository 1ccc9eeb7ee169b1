"""The training loop: AdamW, a schedule, validations, and the best checkpoint kept."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from dpr.base.environment import free_memory
from dpr.base.errors import InputError
from dpr.base.interrupts import delay_signals
from dpr.base.processes import SINGLE, ProcessGroup
from dpr.base.runtime import return_freed
from dpr.encoders import formats
from dpr.encoders.dual_encoder import DualEncoder
from dpr.settings import TrainSettings
from dpr.training import parameters, schedule
from dpr.training.batch import Batch
from dpr.training.gradients import ActivationBudget, ForwardOptions, forward_backward
from dpr.training.log import Console, History, Record, Step, Validation, Watcher
from dpr.training.loss import Loss
from dpr.training.pairs import PairSet
from dpr.training.snapshot import EMA, Autosave, Snapshots, mix_weights, set_weights, weights

FREED = 1.25  # times `activation_gib`: freed memory beyond it goes back to the system
# A loss "near zero". If in-batch softmax is trained, positives then have a probability of e^-.05,
# or .95, in the geometric mean.
OVERFITTED = 0.05


@dataclass(kw_only=True)
class Trainer:
    """Trains `encoder` in place; `run` leaves it with the weights of its best validation.

    With `ema`, it validates and keeps the moving average of the weights. With `initial_share`, it
    first mixes the initial weights in, which keeps more of the encoder's knowledge (WiSE-FT,
    Wortsman et al. 2022, https://arxiv.org/abs/2109.01903).

    Args:
        validate: scores the encoder after a step, in the first process alone.
        seed: for the batches and the dropout.
        activation_gib: memory for the activations of a step on a CPU. "auto": half of the memory
            that is free now; None: unlimited.
    """

    encoder: DualEncoder
    pairs: PairSet
    validate: Callable[[DualEncoder, int], Validation]
    settings: TrainSettings
    seed: int
    processes: ProcessGroup = SINGLE
    # The rest changes no result.
    autosave: Autosave = field(default_factory=Autosave)
    activation_gib: float | Literal["auto"] | None = None
    watchers: Sequence[Watcher] = ()

    def __post_init__(self) -> None:
        settings, encoder = self.settings, self.encoder
        if max(settings.matryoshka, default=0) >= encoder.dimension:
            raise InputError(
                f"params.yaml: train.matryoshka: {settings.matryoshka} must be below the encoder's "
                f"{encoder.dimension} dimensions, which are always trained"
            )
        self.max_steps = self._number_of_steps()
        self.warmup = schedule.warmup_steps(settings, self.max_steps)
        self.patience = math.inf if settings.patience is None else settings.patience
        if settings.overfit_one_batch:  # the margin could exclude all negatives at first
            settings = settings.model_copy(update={"false_negative_margin": None})
            self.patience = math.inf
        torch.manual_seed(self.seed)  # draws LoRA's matrices, the same in every process
        self.initial = weights(encoder) if settings.initial_share else None
        parameters.prepare(encoder, settings)
        self.counts = parameters.count(encoder)
        self.loss = Loss(encoder.similarity, settings).to(encoder.device)
        self.optimizer = torch.optim.AdamW(
            [
                *parameters.groups(encoder, settings.lr, settings.weight_decay),
                *parameters.groups(self.loss, settings.temperature_lr or 0.0, weight_decay=0.0),
            ],
            fused=True,
        )
        self.peak_lrs = [group["lr"] for group in self.optimizer.param_groups]
        self.ema = EMA(encoder, settings.ema) if settings.ema else None
        self.snapshots = Snapshots(
            self.autosave, encoder, self.loss, self.optimizer, self.ema, self.processes
        )
        self.console = Console(self.processes.is_first)
        self.format = formats.training_format(settings.precision, encoder.device)
        gib = self.activation_gib
        self.gib = free_memory() / 2 if gib == "auto" else gib
        budget = ActivationBudget(self.gib if encoder.device.type == "cpu" else None)
        self.forward_options = ForwardOptions(self.format, settings.chunk_size, budget)
        torch.manual_seed(self.seed + self.processes.rank)  # each process draws its own dropout

    def _number_of_steps(self) -> int:
        """`max_steps`, or the steps of `epochs`; InputError if the pairs do not fill a batch."""
        steps, epochs = self.settings.max_steps, self.settings.epochs
        per_epoch = self.pairs.groups.batches_per_epoch if steps != 0 else 0
        if steps is not None:
            return steps
        assert epochs is not None  # the settings: one of the two
        return max(1, round(epochs * (per_epoch / self.settings.accumulate)))

    def run(self) -> History:
        """Train, or resume a killed training.

        Raises:
            InputError: naming the step, if the loss is not finite.
        """
        history = self._start()
        for record in history.in_order():
            self._tell(record)
        done = len(history.steps)
        batches = self._batches(done * self.settings.accumulate)
        with self.console.bar(done, self.max_steps) as bar, delay_signals() as pending:
            for number in range(done + 1, self.max_steps + 1):
                if history.validations_since_best() >= self.patience:
                    break
                drawn = list(itertools.islice(batches, self.settings.accumulate))
                in_memory = _fits_in_memory(number, self.settings.chunk_size)
                with self.console.timed(drawn), in_memory:
                    step = self.step(number, drawn)
                history.steps.append(step)
                bar.set_postfix(loss=f"{step.loss:.3f}", lr=f"{step.lr:.1e}", refresh=False)
                bar.update()
                self._tell(step)
                if self.gib is not None:
                    return_freed(over=FREED * self.gib)
                if number % self.settings.eval_every == 0 or number == self.max_steps:
                    self._tell(self._validate(history, number))
                self.snapshots.save_if_due(history, self.best_weights, pending)
            if len(history.steps) > done:  # the result may be lost: a resume ends at once
                self.snapshots.save_if_due(history, self.best_weights, pending, ended=True)
        self.console.say_rates()
        if self.settings.overfit_one_batch:
            _require_overfitted(len(history.steps), history.steps[-1].loss)
        set_weights(self.encoder, self.best_weights)
        parameters.merge(self.encoder)
        self.encoder.eval()
        return history

    def step(self, number: int, batches: list[Batch]) -> Step:
        """One update, counted from 1, with the mean gradient over the batches."""
        settings = self.settings
        lr_factor = schedule.lr_factor(settings, number - 1, self.warmup, self.max_steps)
        for group, peak in zip(self.optimizer.param_groups, self.peak_lrs, strict=True):
            group["lr"] = peak * lr_factor
        self.encoder.train()
        self.optimizer.zero_grad(set_to_none=True)
        temperature = self.loss.temperature
        if isinstance(temperature, torch.Tensor):  # learned
            temperature = temperature.detach().clone()
        losses = [self._forward_backward(batch) for batch in batches]
        self.processes.sum_gradients(self.encoder.parameters())
        norm = nn.utils.clip_grad_norm_(self.encoder.parameters(), settings.max_grad_norm)
        self.optimizer.step()
        if settings.temperature_lr is not None:
            self.loss.limit_temperature()
        if self.ema:
            self.ema.add(self.encoder, number)
        # Wait for a GPU only here, once a step. (Not all GPUs have float64.)
        *values, norm_value = torch.stack([value.float() for value in (*losses, norm)]).tolist()
        loss = sum(values)
        message = f"step {number}: the loss is {loss}, the gradient norm {norm_value}"
        _require_finite(message, loss, norm_value)
        return Step(number, loss, settings.lr * lr_factor, norm_value, float(temperature))

    def _forward_backward(self, batch: Batch) -> torch.Tensor:
        weight = 1 / self.settings.accumulate

        def loss(queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
            return weight * self.loss(queries, passages, batch.targets)

        return forward_backward(self.encoder, batch, loss, self.forward_options, self.processes)

    def _batches(self, start: int) -> Iterator[Batch]:
        if self.settings.overfit_one_batch:
            return itertools.repeat(next(self.pairs.batches(self.seed)))
        return self.pairs.batches(self.seed, start)

    def _start(self) -> History:
        """Resume, or validate the initial encoder: it stays the best if training only harms."""
        if resumed := self.snapshots.resume():
            history, self.best_weights = resumed
            self.console.say(f"resuming after step {len(history.steps)}")
        else:
            history = History([], [])
            self._validate(history, 0)
        return history

    def _validate(self, history: History, number: int) -> Validation:
        """Validate the weights that stopping now would save; keep the best."""
        trained, started = weights(self.encoder), time.monotonic()
        if self.ema:
            set_weights(self.encoder, self.ema.weights)
        if self.initial:
            mix_weights(self.encoder, self.initial, self.settings.initial_share)
        first = self.processes.is_first
        with parameters.merged(self.encoder, trained):
            result = self.validate(self.encoder, number) if first else Validation(number, 0.0, 0.0)
        _, loss, score = self.processes.broadcast(result[:3])
        # After the last step, no loss would show it.
        _require_finite(f"step {number}: the validation loss is {loss}", loss)
        history.validations.append(result._replace(loss=loss, score=score))
        scores = f"validation loss {loss:.4f}, {self.settings.valid_measure} {score:.4f}"
        self.console.say(f"step {number}: {scores} ({time.monotonic() - started:.1f} s)")
        if history.best.step == number:
            self.best_weights = weights(self.encoder)
        set_weights(self.encoder, trained)
        return history.validations[-1]

    def _tell(self, record: Record) -> None:
        for watcher in self.watchers:
            watcher(record)


@contextmanager
def _fits_in_memory(step: int, chunk_size: int | None) -> Iterator[None]:
    """If a batch does not fit on the device, say what to set."""
    try:
        yield
    except torch.OutOfMemoryError:
        smaller = max(1, chunk_size // 2) if chunk_size else 16
        raise InputError(
            f"step {step}: a batch does not fit in the memory of the device; set "
            f"train.chunk_size={smaller}, which gives the same gradients, or lower "
            "train.batch_size"
        ) from None


def _require_finite(message: str, *numbers: float) -> None:
    if not all(map(math.isfinite, numbers)):
        raise InputError(
            f"{message}; lower train.lr, lengthen the warm-up, raise train.temperature or use "
            "train.precision fp32"
        )


def _require_overfitted(steps: int, loss: float) -> None:
    if loss > OVERFITTED:
        raise InputError(
            f"params.yaml: train.overfit_one_batch: after {steps} steps on one batch the loss is "
            f"{loss:.4f}, still above {OVERFITTED}: the encoder does not learn; try more steps, a "
            "different train.lr or no dropout, or look for passages of equal text in the training "
            "data"
        )
