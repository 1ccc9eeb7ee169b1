"""Measures along a depth or a recall level, for plots."""

from dpr import measures
from dpr.measures import Qrels, Run

DEPTHS = [1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000]
LEVELS = [round(0.1 * i, 1) for i in range(11)]  # the eleven standard points of recall


def recall_by_depth(qrels: Qrels, run: Run, depths: list[int]) -> dict[int, float]:
    """Mean recall@depth over the judged topics."""
    names = [f"recall@{depth}" for depth in depths]
    means = measures.means(measures.by_topic(qrels, run, names))
    return {depth: means[f"recall@{depth}"] for depth in depths}


def precision_by_recall(qrels: Qrels, run: Run) -> dict[float, float]:
    """Mean interpolated precision at the eleven standard points of recall (trec_eval's)."""
    means = measures.means(measures.by_topic(qrels, run, [f"IPrec@{level}" for level in LEVELS]))
    return {level: means[f"IPrec@{level}"] for level in LEVELS}
