"""Schedules beside those of transformers, which start one step earlier, at zero."""

import pytest
import torch
import transformers
from helpers import settings

from dpr.training import schedule

CASES = [
    *((kind, 0.0, *size) for kind in schedule.SHAPES for size in ((0, 7), (3, 20), (10, 50))),
    *(("cosine", floor, 3, 20) for floor in (0.05, 0.5)),
]


@pytest.mark.parametrize(("kind", "floor", "warmup", "steps"), CASES)
def test_it_is_that_of_transformers_one_step_on(kind, floor, warmup, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    name, options = {
        "constant": ("constant_with_warmup", None),
        "linear": ("linear", None),
        "cosine": ("cosine_with_min_lr", {"min_lr_rate": floor}) if floor else ("cosine", None),
        "cosine_restarts": ("cosine_with_restarts", {"num_cycles": 3}),
    }[kind]
    theirs = transformers.get_scheduler(name, optimizer, warmup + 1, steps, options)
    chosen = settings(schedule=kind, min_lr_ratio=floor, cycles=3)
    for step in range(steps):
        optimizer.step()
        theirs.step()
        ours = schedule.lr_factor(chosen, step, warmup, steps)
        assert ours == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
