"""Power against statsmodels, and against the share of drawn samples that are significant."""

import numpy as np
import pytest
from scipy import stats

from dpr.evaluation import power

# statsmodels 0.15.0: TTestPower().solve_power(nobs=n, alpha=.05, power=.8), and with effect_size=d
# for the topics.
EFFECTS = {5: 1.681997, 10: 0.996002, 50: 0.404183, 100: 0.282912, 200: 0.199065}
TOPICS = {0.05: 3141.4655, 0.1: 786.8089, 0.2: 198.1508, 0.5: 33.3671, 1.0: 9.9379, 1.5: 5.6861}


def shaped(mean, deviation, topics):
    """Differences with exactly this mean and standard deviation."""
    drawn = np.random.default_rng(0).normal(size=topics)
    return mean + deviation * (drawn - drawn.mean()) / drawn.std(ddof=1)


@pytest.mark.parametrize(("topics", "effect"), EFFECTS.items())
def test_the_detectable_difference_is_that_of_statsmodels(topics, effect):
    found = power.of(np.stack([shaped(0.03, 0.1, topics), shaped(-0.2, 0.3, topics)]))
    assert [one.detectable for one in found] == pytest.approx(
        [0.1 * effect, 0.3 * effect], abs=1e-6
    )


@pytest.mark.parametrize(("effect", "topics"), TOPICS.items())
def test_the_needed_topics_are_those_of_statsmodels(effect, topics):
    for sign in (1, -1):
        (found,) = power.of(shaped(sign * 0.1 * effect, 0.1, 40)[None])
        assert found.topics_needed == np.ceil(topics)


def test_four_of_five_samples_find_the_detectable_difference():
    rng = np.random.default_rng(0)
    (found,) = power.of(shaped(0.01, 0.15, 60)[None])
    samples = rng.normal(found.detectable, 0.15, size=(4000, 60))
    significant = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05
    assert significant.mean() == pytest.approx(0.8, abs=0.02)  # three standard errors
    needed = power.of(shaped(0.06, 0.15, 20)[None])[0].topics_needed
    samples = rng.normal(0.06, 0.15, size=(4000, needed))
    significant = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05
    assert significant.mean() == pytest.approx(0.8, abs=0.02)


def test_nothing_to_estimate():
    assert power.of(shaped(0.1, 0.1, 4)[None]) == [(None, None)]  # too few topics
    assert power.of(np.full((1, 9), 0.25)) == [(None, None)]  # no variance
    (equal,) = power.of(np.array([[0.1, -0.1, 0.2, -0.2, 0.0]]))
    assert equal.detectable > 0 and equal.topics_needed is None
    (clear,) = power.of(shaped(5.0, 0.1, 30)[None])
    assert clear.topics_needed == 5  # which is the least
    (tiny,) = power.of(shaped(1e-6, 0.1, 30)[None])
    assert tiny.topics_needed == pytest.approx((1.959964 + 0.841621) ** 2 * 1e10, rel=1e-4)


@pytest.mark.parametrize(
    ("found", "topics", "significant", "words"),
    [
        ((0.0214, 913), 200, False, "one as small as observed would need about 910."),
        ((0.0214, 12345), 200, False, "one as small as observed would need about 12,000."),
        ((0.0214, 150), 200, False, "without correction); the observed one is larger."),
        ((0.0214, 913), 200, True, "(paired t-test at 0.05, without correction)."),
        ((0.0214, None), 200, False, "which no number of topics makes significant."),
    ],
)
def test_it_is_said_in_a_sentence(found, topics, significant, words):
    sentence = power.Power(*found).in_words(topics, significant)
    assert sentence.startswith("200 topics find a true difference of 0.021 four times in five (")
    assert sentence.endswith(words)


def test_without_a_figure_it_says_why():
    nothing = power.Power(None, None)
    assert nothing.in_words(4, False) == "4 topics are too few for a figure of power; it takes 5."
    assert nothing.in_words(9, True).startswith("All topics have the same difference")
