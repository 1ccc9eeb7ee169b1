"""Paired significance tests and bootstrap intervals over the topics."""

from collections.abc import Hashable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

ALPHA = 0.05
RESAMPLES = 9_999
TIE = 1e-9  # smaller differences are rounding errors
DECIMALS = 12  # of all results, since the last digits depend on the processor
BLOCK = 2**22  # random numbers in memory at a time
Name = TypeVar("Name", bound=Hashable)


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


def intervals(values: np.ndarray, seed: int, level: float = 0.95) -> list[Interval]:
    """The mean of each row with its percentile bootstrap interval (Efron 1979).

    Args:
        values: (M, n) float, M measures or systems over n topics. All use the same resamples.
    """
    n, rng = values.shape[1], np.random.default_rng(seed)
    means = np.empty((RESAMPLES, len(values)))
    for rows in _blocks(RESAMPLES, n):
        size = rows.stop - rows.start
        drawn = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)  # of each topic
        means[rows] = times @ values.T / n
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    constant = np.ptp(values, axis=1) == 0  # nothing to resample
    exact = values.mean(axis=1)
    low, high = np.where(constant, exact, low), np.where(constant, exact, high)
    rounded = np.stack([exact, low, high], axis=1).round(DECIMALS)
    return [Interval(*row) for row in rounded.tolist()]


def compare(systems: np.ndarray, references: np.ndarray, seed: int) -> list[Comparison]:
    """Paired comparisons of systems with references over the same topics, in the same order.

    The randomization test (Smucker et al. 2007) swaps the two values of a topic, for all subsets of
    topics if there are fewer than 9,999; else for 9,999 subsets drawn by seed, and for none.

    Args:
        systems: (M, n) float. All use the same swaps.
        references: (n,) or (M, n) float.
    """
    differences = np.subtract(systems, references)
    p_randomization = _randomization(differences, seed)
    p_t = _t_test(differences)
    compared = []
    for row, p_random, p in zip(differences, p_randomization, p_t, strict=True):
        wins, losses = int((row > TIE).sum()), int((row < -TIE).sum())
        ties, mean = len(row) - wins - losses, round(float(row.mean()), DECIMALS)
        if wins + losses == 0 or len(row) < 2:  # nothing to swap
            p_random = p = 1.0
        compared.append(Comparison(mean, float(p_random), float(p), wins, ties, losses))
    return compared


def _randomization(differences: np.ndarray, seed: int) -> np.ndarray:
    """(M, n) differences -> (M,) two-sided p values of their means when signs are swapped."""
    n = differences.shape[1]
    exact = 2**n < RESAMPLES
    count = 2**n if exact else RESAMPLES
    observed = differences.sum(axis=1)
    margin = 1e-12 * np.abs(differences).sum(axis=1)  # equal sums can differ in the last bits
    lower, upper = np.zeros(len(differences)), np.zeros(len(differences))
    rng = np.random.default_rng(seed)
    for rows in _blocks(count, n):
        if exact:
            swapped = np.arange(rows.start, rows.stop)[:, None] >> np.arange(n) & 1
        else:
            swapped = rng.integers(2, size=(rows.stop - rows.start, n), dtype=np.int8)
        sums = (1.0 - 2.0 * swapped) @ differences.T
        lower += (sums <= observed + margin).sum(axis=0)
        upper += (sums >= observed - margin).sum(axis=0)
    extra = 0 if exact else 1  # the observed differences, which are one of all subsets
    return np.minimum(1.0, 2 * (np.minimum(lower, upper) + extra) / (count + extra))


def _t_test(differences: np.ndarray) -> np.ndarray:
    """(M, n) differences -> (M,) two-sided p values of Student's paired t-test."""
    from scipy import stats  # here, since it loads slowly

    p_values = np.zeros(len(differences))
    varied = np.ptp(differences, axis=1) > TIE  # else the t statistic is infinite
    p_values[varied] = stats.ttest_1samp(differences[varied], 0.0, axis=1).pvalue.round(DECIMALS)
    return p_values


def _blocks(count: int, width: int) -> Iterator[slice]:
    """Slices of `count` rows of `width` numbers, as many as fit into memory."""
    size = max(1, BLOCK // width)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def holm(p_values: dict[Name, float]) -> dict[Name, float]:
    """p values by name, corrected for multiple comparisons (Holm 1979)."""
    corrected: dict[Name, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - rank) * p_values[name])
        corrected[name] = min(1.0, largest)
    return corrected
