"""The training loop: AdamW, warm-up and decay, the best checkpoint kept."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import nn
from tqdm import tqdm

from dpr import runtime
from dpr.encoder import DualEncoder
from dpr.errors import InputError
from dpr.settings import TrainSettings
from dpr.training import schedule
from dpr.training.loss import in_batch_loss
from dpr.training.pairs import Batch
from dpr.training.validation import Validation


class Step(NamedTuple):
    """One step: its number from 1, loss, learning rate and gradient norm before clipping."""

    step: int
    loss: float
    lr: float
    gradient_norm: float


class History(NamedTuple):
    steps: list[Step]
    validations: list[Validation]

    @property
    def best(self) -> Validation:
        """The validation of the highest nDCG@10, the first of equals."""
        return max(self.validations, key=lambda v: v.ndcg)


def train(
    encoder: DualEncoder,
    batches: Iterator[Batch],
    validate: Callable[[DualEncoder, int], Validation],
    settings: TrainSettings,
) -> History:
    """Train `encoder` in place and leave it with the weights of its best validation.

    The first validation is of the encoder as it came: a training that only harms leaves it so.

    Raises:
        InputError: when the loss is no longer finite, naming the step.
    """
    set_dropout(encoder, settings.dropout)
    optimizer = torch.optim.AdamW(
        parameter_groups(encoder, settings.weight_decay), lr=settings.lr, fused=False
    )
    warmup = schedule.warmup_steps(settings.warmup_steps, settings.warmup_ratio, settings.max_steps)
    history = History([], [validate(encoder, 0)])
    tqdm.write(_describe(history.validations[-1]))
    best_weights = copy.deepcopy(encoder.state_dict())
    with tqdm(total=settings.max_steps, unit=" steps", disable=None) as bar:
        for step in range(1, settings.max_steps + 1):
            share = schedule.linear(step - 1, warmup, settings.max_steps, settings.min_lr_ratio)
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * share
            loss, norm = take_step(encoder, next(batches), optimizer, settings)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise InputError(
                    f"step {step}: the loss is {loss} and the gradient norm {norm}; lower train.lr,"
                    " lengthen the warm-up, raise train.temperature or use train.precision fp32"
                )
            history.steps.append(Step(step, loss, settings.lr * share, norm))
            bar.set_postfix(loss=f"{loss:.3f}", lr=f"{settings.lr * share:.1e}", refresh=False)
            bar.update()
            if step % settings.eval_every == 0 or step == settings.max_steps:
                history.validations.append(validate(encoder, step))
                tqdm.write(_describe(history.validations[-1]))
                if history.best.step == step:
                    best_weights = copy.deepcopy(encoder.state_dict())
                if _out_of_patience(history, settings.patience):
                    break
    encoder.load_state_dict(best_weights)
    encoder.eval()
    return history


def take_step(
    encoder: DualEncoder,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
) -> tuple[float, float]:
    """One update; returns the loss and the gradient norm before clipping."""
    encoder.train()
    optimizer.zero_grad(set_to_none=True)
    with runtime.autocast(settings.precision, encoder.device):
        queries = encoder(batch.queries, "query")
        passages = encoder(batch.passages, "passage")
    loss = in_batch_loss(
        queries.float(),
        passages.float(),
        batch.not_negative.to(encoder.device),
        encoder.similarity,
        settings.temperature,
    )
    loss.backward()
    norm = nn.utils.clip_grad_norm_(encoder.parameters(), settings.max_grad_norm)
    optimizer.step()
    return loss.item(), norm.item()


def parameter_groups(encoder: nn.Module, weight_decay: float) -> list[dict]:
    """Biases and LayerNorm weights, the parameters of one dimension, are not decayed."""
    parameters = [p for p in encoder.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def set_dropout(encoder: nn.Module, probability: float | None) -> None:
    """Another dropout than the checkpoint's, or its own for None."""
    if probability is not None:
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = probability


def _out_of_patience(history: History, patience: int | None) -> bool:
    since_best = [v for v in history.validations if v.step > history.best.step]
    return patience is not None and len(since_best) >= patience


def _describe(validation: Validation) -> str:
    step, loss, ndcg = validation
    return f"step {step}: validation loss {loss:.4f}, nDCG@10 {ndcg:.4f}"
