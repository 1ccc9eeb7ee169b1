"""Learning rate by step, as a share of its peak."""


def warmup_steps(steps: int | None, ratio: float, max_steps: int) -> int:
    """The stated steps of warm-up or, where there are none, their ratio of `max_steps`."""
    return round(ratio * max_steps) if steps is None else steps


def linear(step: int, warmup: int, max_steps: int, floor: float) -> float:
    """Linear warm-up to 1, then linear decay to `floor`; never zero.

    Args:
        step: counted from 0; warm-up gives 1/(warmup+1) at step 0 and 1 at step `warmup`.
        floor: above 0, reached at the last step, `max_steps - 1`.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    decay_steps = max(1, max_steps - 1 - warmup)
    return max(floor, 1 - (1 - floor) * (step - warmup) / decay_steps)
