"""Schedules by hand. (tests/comparison compares them with those of transformers.)"""

import pytest
from helpers import settings

from dpr.base.errors import InputError
from dpr.training import schedule


@pytest.mark.parametrize(
    ("kind", "middle"),
    [
        ("constant", 1.0),
        ("linear", 0.55),
        ("cosine", 0.55),
        ("cosine_restarts", 1.0),  # the second of two cycles starts in the middle
    ],
)
def test_each_kind_at_start_warmup_middle_and_end(kind, middle):
    chosen = settings(schedule=kind, min_lr_ratio=0.1, cycles=2)
    shares = [schedule.lr_factor(chosen, step, 4, 25) for step in range(25)]
    assert shares[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert (shares[14], shares[24]) == pytest.approx((middle, 1.0 if kind == "constant" else 0.1))
    for warmup, steps in ((0, 1), (0, 5), (5, 5), (9, 5), (1, 2)):  # never 0
        shares = [schedule.lr_factor(chosen, step, warmup, steps) for step in range(steps)]
        assert all(0.1 <= share <= 1 for share in shares)


def warmup(steps, ratio, max_steps):
    return schedule.warmup_steps(settings(warmup_steps=steps, warmup_ratio=ratio), max_steps)


def test_warmup_in_steps_or_as_a_ratio():
    cases = ((7, 0.5, 100, 7), (0, 0.5, 100, 0), (None, 0.1, 160, 16), (None, 0.1, 0, 0))
    assert all(warmup(*given) == expected for *given, expected in cases)
    for steps, ratio in ((20, 0.1), (21, 0.1), (None, 1.0)):
        with pytest.raises(InputError, match=r"train\.warmup_steps .* leave none of 20"):
            warmup(steps, ratio, 20)
