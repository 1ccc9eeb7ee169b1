"""The learning rate of each step, as a factor of its peak: warm-up, then one of the `SHAPES`."""

import math

from dpr.base.errors import InputError
from dpr.settings import TrainSettings

SHAPES = {  # progress from 0 to 1, cycles -> factor from 1 to 0
    "constant": lambda progress, cycles: 1.0,
    "linear": lambda progress, cycles: 1 - progress,
    "cosine": lambda progress, cycles: (1 + math.cos(math.pi * progress)) / 2,
    "cosine_restarts": lambda progress, cycles: (
        0.0 if progress >= 1 else (1 + math.cos(math.pi * (cycles * progress % 1))) / 2
    ),
}


def warmup_steps(settings: TrainSettings, max_steps: int) -> int:
    """The settings' `warmup_steps`, or `warmup_ratio` of all; InputError if no step remains."""
    steps = settings.warmup_steps
    if steps is None:
        steps = round(settings.warmup_ratio * max_steps)
    if 0 < max_steps <= steps:
        raise InputError(
            f"params.yaml: train.warmup_steps (or warmup_ratio): {steps} steps of warm-up leave "
            f"none of {max_steps}; lower it, or train longer"
        )
    return steps


def lr_factor(settings: TrainSettings, step: int, warmup: int, max_steps: int) -> float:
    """Linear warm-up to 1, then the shape of `schedule` down to `min_lr_ratio`.

    Shapes as in transformers, whose first step has rate 0 and learns nothing. Here, step s with w
    warm-up steps has the rate of transformers' step s + 1 with w + 1.

    Args:
        step: from 0. Warm-up gives 1 / (warmup + 1) at step 0 and 1 at step `warmup`. The last,
            `max_steps` - 1, has `min_lr_ratio`, unless the schedule is constant.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    floor, progress = settings.min_lr_ratio, (step - warmup) / max(1, max_steps - 1 - warmup)
    return floor + (1 - floor) * SHAPES[settings.schedule](progress, settings.cycles)
