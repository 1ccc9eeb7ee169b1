"""Schedules by hand. (tests/comparison has those of transformers beside them.)"""

import itertools

import pytest

from dpr.base.errors import InputError
from dpr.training import schedule


def test_linear_by_hand():
    rates = [schedule.share("linear", step, 4, 14, 0.1) for step in range(14)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[9] == pytest.approx(1 - 0.9 * 5 / 9)
    assert rates[13] == pytest.approx(0.1)
    assert all(a > b for a, b in itertools.pairwise(rates[4:]))


@pytest.mark.parametrize(
    ("kind", "start", "warm", "middle", "end"),
    [
        ("constant", 0.2, 1.0, 1.0, 1.0),
        ("linear", 0.2, 1.0, 0.55, 0.1),
        ("cosine", 0.2, 1.0, 0.55, 0.1),
        ("cosine_restarts", 0.2, 1.0, 1.0, 0.1),  # with two cycles the second starts in the middle
    ],
)
def test_each_kind_at_start_warmup_middle_and_end(kind, start, warm, middle, end):
    at = {step: schedule.share(kind, step, 4, 25, 0.1, cycles=2) for step in (0, 4, 14, 24)}
    assert at == pytest.approx({0: start, 4: warm, 14: middle, 24: end})


@pytest.mark.parametrize("kind", schedule.SHAPES)
@pytest.mark.parametrize(("warmup", "steps"), [(0, 1), (0, 5), (5, 5), (9, 5), (1, 2)])
def test_the_rate_is_never_zero(kind, warmup, steps):
    rates = [schedule.share(kind, step, warmup, steps, 0.05, 2) for step in range(steps)]
    assert all(0.05 <= rate <= 1 for rate in rates)


def test_warmup_in_steps_or_as_a_ratio():
    assert schedule.warmup_steps(7, 0.5, 100) == 7
    assert schedule.warmup_steps(0, 0.5, 100) == 0
    assert schedule.warmup_steps(None, 0.1, 160) == 16
    assert schedule.warmup_steps(None, 0.1, 0) == 0


@pytest.mark.parametrize(("steps", "ratio"), [(20, 0.1), (21, 0.1), (None, 1.0)])
def test_a_warmup_without_an_end_is_an_error(steps, ratio):
    with pytest.raises(InputError, match=r"train\.warmup_steps .* leave none of 20"):
        schedule.warmup_steps(steps, ratio, 20)
