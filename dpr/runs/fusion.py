"""Fusing two runs: by reciprocal rank, or by a weighted sum of scores."""

import pandas as pd
from trectools import TrecRun, fusion

from dpr import measures
from dpr.records.types import Qrels
from dpr.runs import trec


def reciprocal_rank(first: TrecRun, second: TrecRun, k: int, depth: int) -> TrecRun:
    """Sum of 1 / (k + rank) over the runs (Cormack et al. 2009), by trectools.

    trectools reads the first 1,000 documents of each topic, in the order of the run file, which
    is trec_eval's.
    """
    return fusion.reciprocal_rank_fusion([first, second], k=k, max_docs=depth)


def weighted(first: TrecRun, second: TrecRun, weight: float, depth: int) -> TrecRun:
    """weight * first + (1 - weight) * second, of scores scaled to 0..1 within each topic.

    The convex combination of Bruch et al. 2023 (https://arxiv.org/abs/2210.11934). A document that
    a run lacks scores 0 in it, as its last one does. The sum is trectools' CombSUM, which is
    right for two runs but drops scores from the third run on.
    """
    scaled = [_scaled(first, weight), _scaled(second, 1 - weight)]
    return fusion.combos(scaled, strategy="sum", max_docs=depth)


def choose_weight(
    first: TrecRun, second: TrecRun, weights: list[float], qrels: Qrels, depth: int
) -> dict[float, float]:
    """The headline measure of each weight over the judged topics. Give it validation topics."""
    return {
        weight: measures.headline(qrels, trec.as_dict(weighted(first, second, weight, depth)))
        for weight in weights
    }


def _scaled(run: TrecRun, factor: float) -> TrecRun:
    data: pd.DataFrame = run.run_data.copy()
    by_topic = data.groupby("query")["score"]
    lowest, highest = by_topic.transform("min"), by_topic.transform("max")
    width = (highest - lowest).where(highest > lowest, 1.0)  # equal scores are all 0
    data["score"] = factor * (data["score"] - lowest) / width
    scaled = TrecRun()
    scaled.run_data = data
    return scaled
