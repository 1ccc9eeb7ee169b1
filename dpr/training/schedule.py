"""Learning rate by step, as a share of its peak: warm-up, then one of the `SHAPES`."""

import math

from dpr.errors import InputError

SHAPES = {  # progress from 0 to 1, cycles -> share from 1 to 0
    "constant": lambda progress, cycles: 1.0,
    "linear": lambda progress, cycles: 1 - progress,
    "cosine": lambda progress, cycles: (1 + math.cos(math.pi * progress)) / 2,
    "cosine_restarts": lambda progress, cycles: (
        0.0 if progress >= 1 else (1 + math.cos(math.pi * (cycles * progress % 1))) / 2
    ),
}


def warmup_steps(steps: int | None, ratio: float, max_steps: int) -> int:
    """The stated steps of warm-up or, where there are none, their ratio of `max_steps`.

    Raises:
        InputError: where no step is left behind the warm-up.
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
    """Linear warm-up to 1, then the shape `kind` down to `floor`; never zero.

    The shapes are those of transformers' schedules, whose first step, at zero, would be wasted:
    here step s with w steps of warm-up has what transformers gives step s + 1 with w + 1.

    Args:
        step: counted from 0; warm-up gives 1/(warmup+1) at step 0 and 1 at step `warmup`.
        floor: above 0, reached at the last step, `max_steps - 1`, but for `constant`.
        cycles: of cosine_restarts, each from 1 down to `floor`.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, max_steps - 1 - warmup)
    return floor + (1 - floor) * SHAPES[kind](progress, cycles)
