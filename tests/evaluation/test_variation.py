"""Seeds and topics apart: statsmodels' analysis of variance, and drawn recipes that are equal."""

import numpy as np
import pytest
from scipy import stats

from dpr.evaluation import variation

BEFORE = np.array([[0.1, 0.4, 0.35, 0.8], [0.2, 0.3, 0.5, 0.9], [0.15, 0.45, 0.6, 0.7]])
AFTER = np.array([[0.2, 0.3, 0.45, 0.9], [0.3, 0.5, 0.5, 0.95], [0.35, 0.4, 0.7, 0.8]])


def test_the_components_are_those_of_the_mean_squares():
    # statsmodels 0.15.0, anova_lm of y ~ C(seed) + C(topic): mean squares of seeds, topics, rest
    of_seeds, of_topics, rest = 0.005208333333, 0.217986111111, 0.009652777778
    found = variation.variances(BEFORE)
    assert of_seeds < rest  # so the estimate is below 0
    assert found == pytest.approx(((of_topics - rest) / 3, 0.0, rest))
    moved = BEFORE + np.array([[0.0], [0.3], [-0.1]])
    assert variation.variances(moved).topics == pytest.approx(found.topics)
    means = [0.4125, 0.775, 0.375]
    assert variation.variances(moved).seeds == pytest.approx(np.var(means, ddof=1) - rest / 4)


def test_the_test_is_the_quasi_f_of_the_mean_squares():
    # anova_lm of y ~ C(recipe) + C(recipe):C(seed) + C(topic) + C(recipe):C(topic)
    recipe, seeds, topics = 0.033750 / 1, 0.037083333 / 4, 0.010416667 / 3
    freedom = (seeds + topics) ** 2 / (seeds**2 / 4 + topics**2 / 3)
    found = variation.compare(BEFORE, AFTER)
    assert found.freedom == pytest.approx(freedom, rel=1e-6)
    assert found.p == pytest.approx(stats.f.sf(recipe / (seeds + topics), 1, freedom), rel=1e-6)
    assert found.difference == pytest.approx(0.075)
    assert (found.low + found.high) / 2 == pytest.approx(0.075)
    turned = variation.compare(AFTER, BEFORE)
    assert (turned.low, turned.high, turned.p) == (-found.high, -found.low, found.p)


@pytest.mark.parametrize(
    ("apart", "over_topics", "over_both"),
    [
        (0.02, (0.3, 1.0), (0.02, 0.08)),  # .05 and three standard errors
        (0.005, (0.1, 0.25), (0.01, 0.07)),  # careful where seeds differ little
    ],
)
def test_seeds_alone_prove_nothing(apart, over_topics, over_both):
    """No recipe is better, but seeds move the means: a test over the topics alone is fooled."""
    rng = np.random.default_rng(0)
    for before, after in ((2, 2), (1, 3), (5, 5)):
        found = []
        for _ in range(500):
            topics = rng.normal(0.4, 0.25, size=100)
            one, other = (
                topics + rng.normal(0, apart, (k, 1)) + rng.normal(0, 0.05, (k, 100))
                for k in (before, after)
            )
            p = stats.ttest_rel(one.mean(axis=0), other.mean(axis=0)).pvalue
            found.append((p < 0.05, variation.compare(one, other).p < 0.05))
        for share, (least, most) in zip(np.mean(found, 0), (over_topics, over_both), strict=True):
            assert least < share < most, (before, after, share)


def test_without_any_variance():
    equal = np.full((2, 6), 0.5)
    assert variation.compare(equal, equal)[:4] == (0.0, 0.0, 0.0, 1.0)
    assert variation.compare(equal, equal + 0.25)[:4] == (0.25, 0.25, 0.25, 0.0)


def test_a_true_difference_is_found():
    rng = np.random.default_rng(1)
    one, other = (0.4 + mean + rng.normal(0, 0.01, (3, 100)) for mean in (0.0, 0.05))
    found = variation.compare(one, other)
    assert found.p < 0.001 and found.low < 0.05 < found.high
