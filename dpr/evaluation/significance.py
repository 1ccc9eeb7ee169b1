"""Whether a difference between two systems is significant: paired tests over the topics."""

from typing import NamedTuple

import numpy as np
from scipy import stats

RESAMPLES = 9_999
TIE = 1e-9  # smaller differences are rounding errors


class Interval(NamedTuple):
    mean: float
    low: float
    high: float


class Comparison(NamedTuple):
    """`difference`: the system's mean minus the reference's. p values are two-sided."""

    difference: float
    p_randomization: float
    p_t: float
    wins: int
    ties: int
    losses: int


def interval(values: list[float], seed: int, level: float = 0.95) -> Interval:
    """The mean over topics with its percentile bootstrap interval (Efron 1979)."""
    mean = float(np.mean(values))
    if np.ptp(values) == 0:  # nothing to resample
        return Interval(mean, mean, mean)
    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(mean, float(low), float(high))


def compare(system: list[float], reference: list[float], seed: int) -> Comparison:
    """Paired comparison of two systems on the same topics, in the same order.

    The randomization test (Smucker et al. 2007) swaps the two values of some topics: in all 2^n
    ways if they are fewer than 9,999, else in 9,999 ways drawn by seed, and the observed one.
    """
    differences = np.subtract(system, reference)
    wins, losses = int((differences > TIE).sum()), int((differences < -TIE).sum())
    ties = len(differences) - wins - losses
    if wins + losses == 0 or len(differences) < 2:  # nothing to resample
        return Comparison(float(differences.mean()), 1.0, 1.0, wins, ties, losses)
    randomization = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    constant = np.ptp(differences) <= TIE  # the t statistic is infinite
    return Comparison(
        float(differences.mean()),
        float(randomization.pvalue),
        0.0 if constant else float(stats.ttest_rel(system, reference).pvalue),
        wins,
        ties,
        losses,
    )


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """p values by name, corrected for how many there are (Holm 1979)."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - rank) * p_values[name])
        corrected[name] = min(1.0, largest)
    return corrected
