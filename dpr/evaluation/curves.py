"""Measures by depth or by level of recall, for plots."""

import numpy as np

from dpr import measures
from dpr.measures.graded import Graded, in_blocks
from dpr.records.run import Run
from dpr.records.types import Found, Qrels

DEPTHS = [1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000]
LEVELS = [round(0.1 * i, 1) for i in range(11)]  # the eleven standard points of recall


def recall_by_depth(qrels: Qrels, run: Found, depths: list[int]) -> dict[int, float]:
    """Mean recall@depth over the judged topics."""
    names = [f"recall@{depth}" for depth in depths]
    means = measures.means(measures.by_topic(qrels, run, names))
    return {depth: means[f"recall@{depth}"] for depth in depths}


def precision_by_recall(qrels: Qrels, run: Found) -> dict[float, float]:
    """Mean interpolated precision at the eleven standard points of recall, over judged topics.

    It is the highest precision at or after a point. A point is reached with its share of the
    relevant passages, rounded half up, as in trec_eval's reference output (`iprec_at_recall`); the
    trec_eval code in ir_measures rounds otherwise.
    """
    precision = np.vstack([_precision(graded) for graded in in_blocks(qrels, Run.of(run))])
    return dict(zip(LEVELS, precision.T.copy().mean(axis=1).tolist(), strict=True))


def _precision(graded: Graded) -> np.ndarray:
    """(T, 11), interpolated, of each topic at each point."""
    ranks = np.arange(1, graded.found.shape[1] + 1)
    # Each rank's, and with another column the 0 of a point that no rank reaches.
    later = np.flip(np.maximum.accumulate(np.flip(graded.found / ranks, 1), axis=1), 1)
    later = np.pad(later, ((0, 0), (0, 1)))
    columns = []
    for level in LEVELS:
        needed = np.floor(level * graded.all_relevant + 0.5)
        before = (graded.found < needed[:, None]).sum(axis=1)
        precision = np.take_along_axis(later, before[:, None], axis=1)[:, 0]
        columns.append(np.where(graded.all_relevant > 0, precision, 0.0))
    return np.stack(columns, axis=1)
