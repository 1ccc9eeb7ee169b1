"""The training loop: AdamW, a schedule, the best checkpoint kept, killed runs taken up again."""

import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from tqdm import tqdm

from dpr import runtime
from dpr.encoder import DualEncoder
from dpr.errors import InputError
from dpr.settings import TrainSettings
from dpr.training import gradients, parameters, schedule, state
from dpr.training.loss import InBatchLoss
from dpr.training.pairs import Batch, PairSet
from dpr.training.validation import Validation
from dpr.training.world import ALONE, World

OVERFITTED = 0.05  # a loss "near zero": the own passage has 95 % of the probability
CURES = (
    "; lower train.lr, lengthen the warm-up, raise train.temperature or use train.precision fp32"
)


class Step(NamedTuple):
    """One step, from 1: loss, learning rate, gradient norm before clipping and temperature."""

    step: int
    loss: float
    lr: float
    gradient_norm: float
    temperature: float


class History(NamedTuple):
    steps: list[Step]
    validations: list[Validation]

    @property
    def best(self) -> Validation:
        """The validation of the highest nDCG@10, the first of equals."""
        return max(self.validations, key=lambda v: v.ndcg)


@dataclass
class Trainer:
    """Trains `encoder` in place; `run` leaves it with the weights of its best validation.

    With `initial_share` these are a mean of the trained and the initial weights, which forgets
    less of what the encoder knew (Wortsman et al. 2022, https://arxiv.org/abs/2109.01903).

    Args:
        validate: scores the encoder after a step; only the first process of the world calls it.
        seed: of the batches and the dropout.
        state_file: where the training's state is kept every `save_every` steps, and found again
            after a kill; None: nowhere. The name has to stand for all that decides the training.
        save_every: decides nothing of the result.
    """

    encoder: DualEncoder
    pairs: PairSet
    validate: Callable[[DualEncoder, int], Validation]
    settings: TrainSettings
    seed: int
    world: World = ALONE
    state_file: Path | None = None
    save_every: int = 20

    def __post_init__(self) -> None:
        settings = self.settings
        self.max_steps = settings.max_steps
        if self.max_steps:
            _ = self.pairs.steps_per_epoch  # too few pairs are an error before the work begins
        if max(settings.matryoshka, default=0) >= self.encoder.dimension:
            raise InputError(
                f"params.yaml: train.matryoshka: {settings.matryoshka} must be below the encoder's "
                f"{self.encoder.dimension} dimensions, which are always trained"
            )
        if self.max_steps is None:
            per_epoch = self.pairs.steps_per_epoch / settings.accumulate
            self.max_steps = max(1, round(settings.epochs * per_epoch))
        self.warmup = schedule.warmup_steps(
            settings.warmup_steps, settings.warmup_ratio, self.max_steps
        )
        if settings.overfit_one_batch:  # were all scores alike, a margin would leave no negative
            settings = settings.model_copy(update={"false_negative_margin": None})
        torch.manual_seed(self.seed)  # LoRA draws its matrices, the same in every process
        self.initial = state.weights(self.encoder) if settings.initial_share else None
        parameters.prepare(self.encoder, settings)
        self.counts = parameters.count(self.encoder)
        self.loss = InBatchLoss(self.encoder.similarity, settings).to(self.encoder.device)
        self.optimizer = torch.optim.AdamW(
            [
                *parameters.groups(self.encoder, settings.lr, settings.weight_decay),
                *parameters.groups(self.loss, settings.temperature_lr or 0.0, weight_decay=0.0),
            ],
            fused=False,
        )
        self.peak_lrs = [group["lr"] for group in self.optimizer.param_groups]
        torch.manual_seed(self.seed + self.world.rank)  # each process draws dropout of its own

    def run(self) -> History:
        """Raises InputError when a loss is no longer finite, naming the step."""
        history = self._take_up() or self._begin()
        batches = itertools.islice(
            self._batches(), len(history.steps) * self.settings.accumulate, None
        )
        seconds, seen = 0.0, {"pairs": 0, "tokens": 0}
        first = len(history.steps) + 1
        with tqdm(
            total=self.max_steps,
            initial=first - 1,
            unit=" steps",
            disable=None if self.world.is_first else True,
        ) as bar:
            for number in range(first, self.max_steps + 1):
                if self._out_of_patience(history):
                    break
                drawn = list(itertools.islice(batches, self.settings.accumulate))
                started = time.monotonic()
                step = self.step(number, drawn)
                seconds += time.monotonic() - started
                history.steps.append(step)
                for batch in drawn:
                    seen["pairs"] += len(batch.pairs)
                    seen["tokens"] += sum(map(len, itertools.chain(*self._tokens(batch))))
                bar.set_postfix(loss=f"{step.loss:.3f}", lr=f"{step.lr:.1e}", refresh=False)
                bar.update()
                if number % self.settings.eval_every == 0 or number == self.max_steps:
                    self._validated(history, number)
                if number % self.save_every == 0:
                    self._save(history)
        if seen["pairs"]:
            rates = ", ".join(f"{count / seconds:,.0f} {what}" for what, count in seen.items())
            self._print(f"a second: {rates}")
        self._check_overfitting(history)
        state.set_weights(self.encoder, self.best_weights)
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
        temperature = self.loss.temperature.item()
        loss = sum(self._gradients(batch) for batch in batches)
        self.world.sum_gradients(self.encoder.parameters())
        norm = nn.utils.clip_grad_norm_(self.encoder.parameters(), settings.max_grad_norm).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise InputError(f"step {number}: the loss is {loss}, the gradient norm {norm}{CURES}")
        self.optimizer.step()
        if settings.temperature_lr is not None:
            self.loss.limit_temperature()
        return Step(number, loss, settings.lr * share, norm, temperature)

    def _gradients(self, batch: Batch) -> float:
        device, share = self.encoder.device, 1 / self.settings.accumulate
        pairs, relevant = batch.pairs.to(device), batch.relevant.to(device)
        loss = gradients.accumulate(
            self.encoder,
            *self._tokens(batch),
            lambda queries, passages: share * self.loss(queries, passages, pairs, relevant),
            self.settings.precision,
            self.settings.chunk_size,
            self.world,
        )
        return loss.item()

    def _tokens(self, batch: Batch) -> tuple[list, list]:
        return (
            [self.pairs.queries[query_id] for query_id in batch.query_ids],
            [self.pairs.passages[passage_id] for passage_id in batch.passage_ids],
        )

    def _batches(self) -> Iterator[Batch]:
        batches = self.pairs.batches(self.seed)
        if self.settings.overfit_one_batch:
            return itertools.repeat(next(batches))
        return batches

    def _begin(self) -> History:
        """With the encoder as it came: a training that only harms leaves it so."""
        history = History([], [])
        self._validated(history, 0)
        return history

    def _validated(self, history: History, number: int) -> None:
        """Validate the encoder as it would be left after this step, and keep the best."""
        trained = state.weights(self.encoder)
        if self.initial:
            state.mix_weights(self.encoder, self.initial, self.settings.initial_share)
        result = self.validate(self.encoder, number) if self.world.is_first else (number, 0.0, 0.0)
        _, loss, ndcg = self.world.from_first(result, self.encoder.device)
        if not math.isfinite(loss):  # by the last update: no step follows that would see it
            raise InputError(f"step {number}: the validation loss is {loss}{CURES}")
        history.validations.append(Validation(number, loss, ndcg))
        self._print(f"step {number}: validation loss {loss:.4f}, nDCG@10 {ndcg:.4f}")
        if history.best.step == number:
            self.best_weights = state.weights(self.encoder)
        state.set_weights(self.encoder, trained)

    def _out_of_patience(self, history: History) -> bool:
        patience = self.settings.patience
        if patience is None or self.settings.overfit_one_batch:
            return False
        return sum(v.step > history.best.step for v in history.validations) >= patience

    def _check_overfitting(self, history: History) -> None:
        if self.settings.overfit_one_batch and history.steps[-1].loss > OVERFITTED:
            raise InputError(
                f"params.yaml: train.overfit_one_batch: after {len(history.steps)} steps on one "
                f"batch the loss is {history.steps[-1].loss:.4f}, not below {OVERFITTED}: the "
                "encoder does not learn; try more steps, another train.lr or no dropout, or look "
                "for passages of equal text in the training data"
            )

    def _save(self, history: History) -> None:
        if self.state_file is None:
            return
        device, world = self.encoder.device, self.world
        parts = {
            "weights": state.weights(self.encoder),
            "best": self.best_weights,
            "loss": state.weights(self.loss),
            "optimizer": state.optimizer_tensors(self.optimizer),
            "random": {  # each process draws its own dropout
                kind: world.gather(own[None].to(device), world.size)
                for kind, own in runtime.random_state(device).items()
            },
        }
        if world.is_first:
            state.save(self.state_file, parts, history._asdict())

    def _take_up(self) -> History | None:
        """The history of a killed run, with everything else as it was; None without one."""
        saved = self.state_file and state.load(self.state_file)
        steps = len(saved.numbers["steps"]) if saved else 0
        (first_has,) = self.world.from_first((float(steps),), self.encoder.device)
        if steps != first_has:
            raise InputError(
                f"{self.state_file}: the first process goes on after step {first_has:.0f}, this "
                f"machine has {steps}: share .scratch between the machines, or remove it on all"
            )
        if not saved:
            return None
        state.set_weights(self.encoder, saved.part("weights"))
        state.set_weights(self.loss, saved.part("loss"))
        state.set_optimizer_tensors(self.optimizer, saved.part("optimizer"))
        self.best_weights = saved.part("best")
        own = {kind: states[self.world.rank] for kind, states in saved.part("random").items()}
        runtime.set_random_state(own, self.encoder.device)
        history = History(
            [Step(*values) for values in saved.numbers["steps"]],
            [Validation(*values) for values in saved.numbers["validations"]],
        )
        self._print(f"going on after step {len(history.steps)}")
        return history

    def _print(self, message: str) -> None:
        if self.world.is_first:
            tqdm.write(message, file=sys.stdout)
