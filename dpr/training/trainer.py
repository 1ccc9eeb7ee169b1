"""The training loop: AdamW, a schedule, validations, and the best checkpoint kept."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from dpr.base.interrupts import held
from dpr.base.processes import SINGLE, ProcessGroup
from dpr.base.runtime import return_freed
from dpr.encoders import formats
from dpr.encoders.dual_encoder import DualEncoder
from dpr.settings import TrainSettings
from dpr.training import checks, parameters, schedule
from dpr.training.batch import Batch
from dpr.training.gradients import Room, forward_backward
from dpr.training.log import Console, History, Step, Validation, Watcher, advance, tell
from dpr.training.loss import Loss
from dpr.training.pairs import PairSet
from dpr.training.snapshot import RunningMean, Snapshots, mix_weights, set_weights, weights

FREED = 1.25  # memory that is freed but kept, as a multiple of what activations may take


@dataclass
class Trainer:
    """Trains `encoder` in place; `run` leaves it with the weights of its best validation.

    With `ema` these are the running mean of the trained weights. With `initial_share` they are
    mixed with the initial ones, which keeps more of what the encoder knew (WiSE-FT, Wortsman et al.
    2022, https://arxiv.org/abs/2109.01903).

    Args:
        validate: scores the encoder after a step; only the first process calls it.
        seed: of the batches and the dropout.
        snapshot: the file to resume from after a kill; see `Snapshots`.
        save_every: seconds between snapshots.
        memory: GiB for the activations of a step on a CPU; None: for all. Neither of these two
            changes the result.
        watchers: are told of each step and validation.
    """

    encoder: DualEncoder
    pairs: PairSet
    validate: Callable[[DualEncoder, int], Validation]
    settings: TrainSettings
    seed: int
    processes: ProcessGroup = SINGLE
    snapshot: Path | None = None
    save_every: float = 60.0
    memory: float | None = None
    watchers: Sequence[Watcher] = ()
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        settings = self.settings
        checks.require_dimensions(settings, self.encoder.dimension)
        self.max_steps = schedule.number_of_steps(
            settings.max_steps, settings.epochs, self.pairs, settings.accumulate
        )
        self.warmup = schedule.warmup_steps(
            settings.warmup_steps, settings.warmup_ratio, self.max_steps
        )
        if settings.overfit_one_batch:  # a margin could leave an untrained encoder no negative
            settings = settings.model_copy(update={"false_negative_margin": None})
        torch.manual_seed(self.seed)  # LoRA's matrices are drawn, the same in every process
        self.initial = weights(self.encoder) if settings.initial_share else None
        parameters.prepare(self.encoder, settings)
        self.counts = parameters.count(self.encoder)
        self.loss = Loss(self.encoder.similarity, settings).to(self.encoder.device)
        self.optimizer = torch.optim.AdamW(
            [
                *parameters.groups(self.encoder, settings.lr, settings.weight_decay),
                *parameters.groups(self.loss, settings.temperature_lr or 0.0, weight_decay=0.0),
            ],
            fused=True,
        )
        self.format = formats.training_format(settings.precision, self.encoder.device)
        self.mean = RunningMean(self.encoder, settings.ema) if settings.ema else None
        self.peak_lrs = [group["lr"] for group in self.optimizer.param_groups]
        self.snapshots = Snapshots(
            self.snapshot,
            self.encoder,
            self.loss,
            self.optimizer,
            self.processes,
            self.save_every,
            self.mean,
            self.clock,
        )
        given = None if settings.overfit_one_batch else settings.patience
        self.patience = math.inf if given is None else given
        self.console = Console(self.processes.is_first)
        self.room = Room(self.memory if self.encoder.device.type == "cpu" else None)
        torch.manual_seed(self.seed + self.processes.rank)  # each process draws its own dropout

    def run(self) -> History:
        """Train, or go on with the training of a killed run.

        Raises:
            InputError: naming the step, if the loss is no longer finite.
        """
        history = self._resume() or self._begin()
        tell(self.watchers, history)
        done = len(history.steps)
        batches = self._batches(done * self.settings.accumulate)
        with self.console.bar(done, self.max_steps) as bar, held() as signals:
            for number in range(done + 1, self.max_steps + 1):
                if history.validations_since_best() >= self.patience:
                    break
                drawn = list(itertools.islice(batches, self.settings.accumulate))
                in_memory = checks.fits_in_memory(number, self.settings.chunk_size)
                with self.console.timed(drawn), in_memory:
                    step = self.step(number, drawn)
                history.steps.append(step)
                advance(bar, step)
                for watcher in self.watchers:
                    watcher.step(step)
                if self.memory is not None:
                    return_freed(over=FREED * self.memory)
                if number % self.settings.eval_every == 0 or number == self.max_steps:
                    self._validate(history, number)
                    for watcher in self.watchers:
                        watcher.validation(history.validations[-1])
                self.snapshots.save_if_due(history, self.best_weights, signals)
            if len(history.steps) > done:  # its result may be lost
                self.snapshots.save_if_due(history, self.best_weights, signals, ended=True)
        self.console.say_rates()
        if self.settings.overfit_one_batch:
            checks.require_overfitted(len(history.steps), history.steps[-1].loss)
        set_weights(self.encoder, self.best_weights)
        parameters.merge(self.encoder)
        self.encoder.eval()
        return history

    def step(self, number: int, batches: list[Batch]) -> Step:
        """One update, number `number` from 1, with the mean gradient over the batches."""
        settings = self.settings
        share = schedule.share(
            settings.schedule,
            number - 1,
            self.warmup,
            self.max_steps,
            settings.min_lr_ratio,
            settings.cycles,
        )
        for group, peak in zip(self.optimizer.param_groups, self.peak_lrs, strict=True):
            group["lr"] = peak * share
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
        if self.mean:
            self.mean.add(self.encoder, number)
        # Here a GPU is waited for, once a step. (Not all GPUs have float64.)
        *values, norm_value = torch.stack([value.float() for value in (*losses, norm)]).tolist()
        checks.require_finite_step(number, sum(values), norm_value)
        return Step(number, sum(values), settings.lr * share, norm_value, float(temperature))

    def _forward_backward(self, batch: Batch) -> torch.Tensor:
        share = 1 / self.settings.accumulate
        return forward_backward(
            self.encoder,
            batch,
            lambda queries, passages: share * self.loss(queries, passages, batch.targets),
            self.format,
            self.settings.chunk_size,
            self.processes,
            self.room,
        )

    def _batches(self, start: int) -> Iterator[Batch]:
        if self.settings.overfit_one_batch:
            return itertools.repeat(next(self.pairs.batches(self.seed)))
        return self.pairs.batches(self.seed, start)

    def _begin(self) -> History:
        """Validate the untrained encoder: it stays the best if training only harms."""
        history = History([], [])
        self._validate(history, 0)
        return history

    def _resume(self) -> History | None:
        resumed = self.snapshots.resume()
        if resumed is None:
            return None
        history, self.best_weights = resumed
        self.console.say(f"resuming after step {len(history.steps)}")
        return history

    def _validate(self, history: History, number: int) -> None:
        """Validate the weights that a stop now would save; keep the best."""
        trained, started = weights(self.encoder), time.monotonic()
        if self.mean:
            set_weights(self.encoder, self.mean.weights)
        if self.initial:
            mix_weights(self.encoder, self.initial, self.settings.initial_share)
        first = self.processes.is_first
        with parameters.merged(self.encoder, trained):
            result = self.validate(self.encoder, number) if first else Validation(number, 0.0, 0.0)
        _, loss, score = self.processes.broadcast(result[:3])
        checks.require_finite_validation(number, loss)
        history.validations.append(result._replace(loss=loss, score=score))
        measure = self.settings.valid_measure
        seconds = time.monotonic() - started
        found = f"validation loss {loss:.4f}, {measure} {score:.4f}"
        self.console.say(f"step {number}: {found} ({seconds:.1f} s)")
        if history.best.step == number:
            self.best_weights = weights(self.encoder)
        set_weights(self.encoder, trained)
