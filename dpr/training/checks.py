"""Errors of a training: before it begins, during its steps and at its end."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dpr.base.errors import InputError
from dpr.settings import TrainSettings

OVERFITTED = 0.05  # a loss "near zero": the pair's own passage has a probability of .95


def require_dimensions(settings: TrainSettings, dimension: int) -> None:
    if max(settings.matryoshka, default=0) >= dimension:
        raise InputError(
            f"params.yaml: train.matryoshka: {settings.matryoshka} must be below the encoder's "
            f"{dimension} dimensions, which are always trained"
        )


@contextmanager
def fits_in_memory(step: int, chunk_size: int | None) -> Iterator[None]:
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


def require_finite(message: str, *numbers: float) -> None:
    """If the training has diverged, say so by a message that has the numbers."""
    if not all(map(math.isfinite, numbers)):
        raise InputError(
            f"{message}; lower train.lr, lengthen the warm-up, raise train.temperature or use "
            "train.precision fp32"
        )


def require_overfitted(steps: int, loss: float) -> None:
    """`loss` is that of the last step on one batch."""
    if loss > OVERFITTED:
        raise InputError(
            f"params.yaml: train.overfit_one_batch: after {steps} steps on one batch the loss is "
            f"{loss:.4f}, not below {OVERFITTED}: the encoder does not learn; try more steps, a "
            "different train.lr or no dropout, or look for passages of equal text in the training "
            "data"
        )
