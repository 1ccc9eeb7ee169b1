"""What a set of topics can show: the difference that it finds, and the topics that one needs.

The topic set size design of Sakai (2016, Information Retrieval Journal 19, 256-283) for the paired
t-test: two-sided at ALPHA, with POWER, and before Holm's correction. The variance is that of the
observed differences; the power is exact, by the noncentral t distribution.
"""

from typing import NamedTuple

import numpy as np

from dpr.evaluation.significance import ALPHA, DECIMALS, TIE

POWER = 0.8
FEWEST = 5  # topics; fewer say next to nothing about the variance


class Power(NamedTuple):
    """Both None for fewer than FEWEST topics, or topics that all have the same difference.

    Attributes:
        detectable: the true difference that is significant in POWER of all samples of as many
            topics.
        topics_needed: how many topics find the observed difference that often, if it is the true
            one; at least FEWEST. None for equal means.
    """

    detectable: float | None
    topics_needed: int | None

    def in_words(self, topics: int, significant: bool, decimals: int = 3) -> str:
        """For users. A significant difference needs no further topics."""
        if topics < FEWEST:
            return f"{topics} topics are too few for a figure of power; it takes {FEWEST}."
        if self.detectable is None:
            return "All topics have the same difference, so there is no figure of power."
        found = (
            f"{topics} topics find a true difference of {self.detectable:.{decimals}f} four times "
            f"in five (paired t-test at {ALPHA}, without correction)"
        )
        if significant:
            return f"{found}."
        if self.topics_needed is None:
            return f"{found}; the means are equal, which no number of topics makes significant."
        if self.topics_needed <= topics:
            return f"{found}; the observed one is larger."
        about = float(f"{self.topics_needed:.2g}")
        return f"{found}; one as small as observed would need about {about:,.0f}."


def of(differences: np.ndarray) -> list[Power]:
    """(M, n topics) paired differences -> M, in the same order."""
    n = differences.shape[1]
    if n < FEWEST:
        return [Power(None, None)] * len(differences)
    effect, found = _effect(n), []
    for row in differences:
        mean, deviation = abs(float(row.mean())), float(row.std(ddof=1))
        if np.ptp(row) <= TIE:
            found.append(Power(None, None))
        else:
            needed = _topics(mean / deviation) if mean > TIE else None
            found.append(Power(round(effect * deviation, DECIMALS), needed))
    return found


def _power(topics: float, effect: float) -> float:
    """Of the t-test, for a true mean of `effect` standard deviations."""
    from scipy.stats import nct, t  # here, since it loads slowly

    critical, shift = t.isf(ALPHA / 2, topics - 1), effect * topics**0.5
    return float(nct.sf(critical, topics - 1, shift) + nct.cdf(-critical, topics - 1, shift))


def _effect(topics: int) -> float:
    """The effect that these topics find with POWER."""
    from scipy.optimize import brentq

    highest = 4 / topics**0.5  # power above .8; far above it, nct has no value
    return float(brentq(lambda effect: _power(topics, effect) - POWER, 0, highest))


def _topics(effect: float) -> int:
    """The fewest topics that find this effect with POWER."""
    from scipy.optimize import brentq

    if effect >= _effect(FEWEST):
        return FEWEST
    most = 16 / effect**2 + FEWEST + 1  # power above .8
    return int(np.ceil(brentq(lambda topics: _power(topics, effect) - POWER, FEWEST, most)))
