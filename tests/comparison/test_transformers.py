"""Schedules beside those of transformers, which start one step earlier, at zero."""

import pytest
import torch
import transformers
from helpers import settings

from dpr.training import schedule


@pytest.mark.parametrize("kind", schedule.SHAPES)
@pytest.mark.parametrize(("warmup", "steps"), [(0, 7), (3, 20), (10, 50)])
def test_without_a_floor_it_is_transformers_one_step_on(kind, warmup, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    warmed = {"num_warmup_steps": warmup + 1}
    theirs = {
        "constant": lambda: transformers.get_constant_schedule_with_warmup(optimizer, **warmed),
        "linear": lambda: transformers.get_linear_schedule_with_warmup(
            optimizer, **warmed, num_training_steps=steps
        ),
        "cosine": lambda: transformers.get_cosine_schedule_with_warmup(
            optimizer, **warmed, num_training_steps=steps
        ),
        "cosine_restarts": lambda: transformers.get_cosine_with_hard_restarts_schedule_with_warmup(
            optimizer, **warmed, num_training_steps=steps, num_cycles=3
        ),
    }[kind]()
    chosen = settings(schedule=kind, min_lr_ratio=0.0, cycles=3)
    for step in range(steps):
        optimizer.step()
        theirs.step()
        ours = schedule.lr_factor(chosen, step, warmup, steps)
        assert ours == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)


@pytest.mark.parametrize("floor", [0.05, 0.5])
def test_the_cosine_with_a_floor_is_transformers_one_step_on(floor):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = transformers.get_cosine_with_min_lr_schedule_with_warmup(
        optimizer, num_warmup_steps=4, num_training_steps=20, min_lr_rate=floor
    )
    chosen = settings(schedule="cosine", min_lr_ratio=floor)
    for step in range(20):
        optimizer.step()
        theirs.step()
        ours = schedule.lr_factor(chosen, step, 3, 20)
        assert ours == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
