"""The learning rate of each step, as a share of its peak: warm-up, then one of the `SHAPES`."""

import math

from dpr.base.errors import InputError
from dpr.training.pairs import PairSet

SHAPES = {  # progress from 0 to 1, cycles -> share from 1 to 0
    "constant": lambda progress, cycles: 1.0,
    "linear": lambda progress, cycles: 1 - progress,
    "cosine": lambda progress, cycles: (1 + math.cos(math.pi * progress)) / 2,
    "cosine_restarts": lambda progress, cycles: (
        0.0 if progress >= 1 else (1 + math.cos(math.pi * (cycles * progress % 1))) / 2
    ),
}


def number_of_steps(
    max_steps: int | None, epochs: float | None, pairs: PairSet, accumulate: int
) -> int:
    """`max_steps` or, if that is None, those of so many `epochs` of `accumulate` batches each.

    Raises:
        InputError: if the pairs do not fill a batch of a training with steps.
    """
    per_epoch = pairs.steps_per_epoch if max_steps != 0 else 0
    if max_steps is not None:
        return max_steps
    assert epochs is not None  # dpr/settings: one of the two
    return max(1, round(epochs * (per_epoch / accumulate)))


def warmup_steps(steps: int | None, ratio: float, max_steps: int) -> int:
    """`steps` of warm-up or, if that is None, `ratio` of `max_steps`.

    Raises:
        InputError: if no step is left after the warm-up.
    """
    steps = round(ratio * max_steps) if steps is None else steps
    if 0 < max_steps <= steps:
        raise InputError(
            f"params.yaml: train.warmup_steps (or warmup_ratio): {steps} steps of warm-up leave "
            f"none of {max_steps}; lower it, or train longer"
        )
    return steps


def share(
    kind: str, step: int, warmup: int, max_steps: int, floor: float, cycles: int = 1
) -> float:
    """Linear warm-up to 1, then the shape `kind` down to `floor`; never 0.

    The shapes are those of transformers, whose first step has the rate 0 and learns nothing. Here
    step s with w warm-up steps has the rate of transformers' step s + 1 with w + 1.

    Args:
        step: from 0. Warm-up gives 1 / (warmup + 1) at step 0 and 1 at step `warmup`.
        floor: above 0; the share at the last step, `max_steps - 1`, for all shapes but constant.
        cycles: of cosine_restarts, each from 1 down to `floor`.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, max_steps - 1 - warmup)
    return floor + (1 - floor) * SHAPES[kind](progress, cycles)
