"""Measures by depth or by level of recall, for plots."""

import math
from statistics import fmean

import numpy as np

from dpr import measures
from dpr.records.ranking import ranking
from dpr.records.types import Qrels, Run

DEPTHS = [1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000]
LEVELS = [round(0.1 * i, 1) for i in range(11)]  # the eleven standard points of recall


def recall_by_depth(qrels: Qrels, run: Run, depths: list[int]) -> dict[int, float]:
    """Mean recall@depth over the judged topics."""
    names = [f"recall@{depth}" for depth in depths]
    means = measures.means(measures.by_topic(qrels, run, names))
    return {depth: means[f"recall@{depth}"] for depth in depths}


def precision_by_recall(qrels: Qrels, run: Run) -> dict[float, float]:
    """Mean interpolated precision at the eleven standard points of recall, over judged topics."""
    topics = [interpolated_precision(qrels[q], run.get(q, {})) for q in qrels]
    return {level: fmean(topic[i] for topic in topics) for i, level in enumerate(LEVELS)}


def interpolated_precision(grades: dict[str, int], scores: dict[str, float]) -> list[float]:
    """For one topic, the highest precision at or after each of `LEVELS` of recall.

    A level is reached with its share of the relevant passages, rounded half up, as in trec_eval's
    reference output (`iprec_at_recall`); the trec_eval code in ir_measures rounds otherwise.
    """
    relevant = {passage_id for passage_id, grade in grades.items() if grade > 0}
    found = np.cumsum([passage_id in relevant for passage_id, _ in ranking(scores)])
    precision = found / np.arange(1, len(found) + 1)
    values = []
    for level in LEVELS:
        needed = math.floor(level * len(relevant) + 0.5)
        values.append(max(precision[found >= needed], default=0.0) if relevant else 0.0)
    return [float(value) for value in values]
