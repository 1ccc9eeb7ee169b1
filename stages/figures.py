"""Metrics and plots that describe runs: they go when a new run is begun.

If a stage fails between a run and its figures, those of the run before would be taken for its own.
"""

from pathlib import Path

from dpr import measures
from dpr.measures import HEADLINE, ByTopic
from dpr.systems import ENCODERS

OF_ENCODERS = (
    *("metrics/audit.json", "metrics/eval.json"),
    *("plots/topics.csv", "plots/tradeoff.csv"),
)
OF_ALL = (
    *("metrics/compare.json", "metrics/fuse.json", "plots/compare_topics.csv"),
    *("plots/precision.csv", "plots/recall.csv", "plots/systems.csv"),
)


def headline(results: dict[str, ByTopic]) -> str:
    """The mean nDCG@10 of each system, in one line."""
    means = (f"{s} {measures.means(values)[HEADLINE]:.3f}" for s, values in results.items())
    return f"{HEADLINE} {', '.join(means)}"


def forget(system: str) -> None:
    """Remove what describes the runs of a system. DVC makes it again, in seconds."""
    for path in (*OF_ALL, *(OF_ENCODERS if system in ENCODERS else ())):
        Path(path).unlink(missing_ok=True)
