"""What a training says of itself at its end."""

import pytest

from dpr.training.log import History, Step, Validation

STEP = Step(1, 0.5, 1e-4, 1.0, 0.05)


@pytest.mark.parametrize(
    ("scores", "steps", "said"),
    [
        ([0.4, 0.5], 2, "2 steps; best after 1: validation nDCG@10 0.5000, before 0.4000"),
        (
            [0.4, 0.3],
            2,
            "2 steps; training did not help: the encoder that it began with is kept; validation "
            "nDCG@10 0.4000, before 0.4000",
        ),
        ([0.4], 0, "0 steps; best after 0: validation nDCG@10 0.4000, before 0.4000"),
    ],
)
def test_a_training_that_did_not_help_says_so(scores, steps, said):
    history = History([STEP] * steps, [Validation(i, 0.0, s) for i, s in enumerate(scores)])
    assert history.described("nDCG@10") == said
