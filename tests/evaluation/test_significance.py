import itertools

import numpy as np
import pytest
from scipy import stats

from dpr.evaluation import significance
from dpr.evaluation.significance import holm


def compare(system, reference, seed):
    (one,) = significance.compare(np.array([system]), np.array(reference), seed)
    return one


def interval(values, seed):
    (one,) = significance.intervals(np.array([values]), seed)
    return one


def test_every_way_to_flip_by_hand():
    """Six differences: all 64 sign patterns, written out."""
    differences = np.array([0.3, 0.1, -0.05, 0.2, 0.02, 0.15])
    flips = np.array(list(itertools.product([1, -1], repeat=6)))
    means = (flips * differences).mean(axis=1)
    expected = np.mean(np.abs(means) >= abs(differences.mean()) - 1e-12)
    result = compare(list(differences), [0.0] * 6, seed=0)
    assert result.p_randomization == pytest.approx(expected)
    assert result.difference == pytest.approx(0.12)
    assert (result.wins, result.ties, result.losses) == (5, 0, 1)


def test_the_t_test_by_its_formula():
    rng = np.random.default_rng(0)
    a, b = rng.random(50), rng.random(50)
    d = a - b
    t = d.mean() / (d.std(ddof=1) / np.sqrt(50))
    expected = 2 * stats.t.sf(abs(t), df=49)
    assert compare(list(a), list(b), seed=0).p_t == pytest.approx(expected)


def test_many_topics_are_sampled_by_seed_and_near_the_t_test():
    rng = np.random.default_rng(0)
    a = rng.normal(0.02, 0.1, size=200)
    first = compare(list(a), [0.0] * 200, seed=1)
    assert first == compare(list(a), [0.0] * 200, seed=1)
    assert first.p_randomization == pytest.approx(first.p_t, abs=0.01)


def test_drawn_swaps_agree_with_scipy():
    rng = np.random.default_rng(3)
    systems, reference = rng.normal(0.03, 0.2, size=(3, 60)), rng.normal(0, 0.2, size=60)
    found = significance.compare(systems, reference, seed=0)
    for system, ours in zip(systems, found, strict=True):
        theirs = stats.permutation_test(
            (system - reference,), np.mean, permutation_type="samples", vectorized=True, rng=rng
        )
        assert ours.p_randomization == pytest.approx(theirs.pvalue, abs=0.02)
        assert ours == compare(system, reference, seed=0)


def test_the_interval_agrees_with_scipy():
    values = np.random.default_rng(4).exponential(size=100)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=0).confidence_interval
    assert interval(values, seed=0)[1:] == pytest.approx(tuple(theirs), abs=0.02)


def test_blocks_do_not_change_the_draws(monkeypatch):
    values = np.random.default_rng(5).normal(0.1, 1, size=(2, 40))
    tested = lambda: [significance.intervals(values, 0), significance.compare(values, 0, 0)]  # noqa: E731
    whole = tested()
    monkeypatch.setattr(significance, "BLOCK", 40 * 64)
    assert whole == tested()


def test_holm_by_hand():
    # sorted: .01 * 4, .02 * 3, .03 * 2, .04 * 1, none below the one before it
    corrected = holm({"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.02})
    assert corrected == pytest.approx({"b": 0.04, "d": 0.06, "c": 0.06, "a": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}


def test_equal_values_and_a_single_topic_prove_nothing():
    assert interval([0.5, 0.5, 0.5], seed=0) == (0.5, 0.5, 0.5)
    assert compare([0.1, 0.2], [0.1, 0.2], seed=0) == (0.0, 1.0, 1.0, 0, 2, 0)
    assert compare([0.5], [0.1], seed=0) == (pytest.approx(0.4), 1.0, 1.0, 1, 0, 0)
    assert compare([0.1 + 0.2, 1.0], [0.3, 0.5], seed=0).ties == 1  # a rounding error
