"""The reported measures: trec_eval's own code, through ir_measures, over every judged topic.

All are computed over one ranking, in trec_eval's order: ir_measures gives some measures (RR@10,
judged@10) to other libraries, which compare scores as 64-bit floats and break ties the other way.
"""

from statistics import fmean
from typing import Any

import numpy as np

from dpr.records.ranking import ranking
from dpr.records.types import Qrels, Run

HEADLINE_DEPTH = 10
HEADLINE = f"nDCG@{HEADLINE_DEPTH}"  # of tables, plots, validation, fusion weight and audit
ByTopic = dict[str, dict[str, float]]  # {measure: {query id: value}}


def parse_measure(name: str) -> Any:
    """A measure by its name in ir_measures (`nDCG@10`, `AP`), or `recall@k`, or `judged@k`.

    Raises:
        ValueError: for an unknown name, and for IPrec, which ir_measures rounds unlike trec_eval's
            reference output; see `dpr.evaluation.curves`.
    """
    import ir_measures  # here and below, since it loads slowly

    if name.startswith("IPrec"):
        raise ValueError(f"{name!r} is not offered as a measure; see plots/precision.csv")
    try:
        return ir_measures.parse_measure(
            name.replace("recall@", "R@").replace("judged@", "Judged@")
        )
    except (NameError, ValueError, SyntaxError) as error:
        raise ValueError(
            f"{name!r} is no measure of ir_measures, such as nDCG@10: {error}"
        ) from None


def cutoff(name: str) -> int | None:
    """The depth to which a measure looks; None for one that looks at the whole run."""
    found: int | None = parse_measure(name).params.get("cutoff")
    return found


def check(names: list[str]) -> list[str]:
    """The names; ValueError for one that cannot be computed, a duplicate, or no headline."""
    for name in names:  # on one topic, since some measures fail only when they are computed
        try:
            by_topic({"q": {"d": 1}}, {"q": {"d": 1.0}}, [name])
        except Exception as error:
            raise ValueError(f"{name!r} cannot be computed: {error}") from None
    if len({parse_measure(name) for name in names}) < len(names):
        raise ValueError("a measure is listed twice")
    if HEADLINE not in names:
        raise ValueError(f"{HEADLINE}, the headline of plots and tables, must be among them")
    return names


def by_topic(qrels: Qrels, run: Run, measures: list[str]) -> ByTopic:
    """Each measure for every judged topic; a topic that the run lacks counts as 0.

    That is trec_eval's option -c: without it a system gains by leaving out hard topics.
    """
    import ir_measures

    names = {parse_measure(name): name for name in measures}
    values = {name: dict.fromkeys(qrels, 0.0) for name in measures}
    for metric in ir_measures.iter_calc(list(names), qrels, _without_ties(run)):
        if metric.query_id in qrels:
            values[names[metric.measure]][metric.query_id] = metric.value
    return values


def _without_ties(run: Run) -> Run:
    """The run, with other scores for a topic that has ties: N ... 1 in trec_eval's order."""
    return {
        query_id: _in_order(scores) if _has_ties(scores) else scores
        for query_id, scores in run.items()
    }


def _has_ties(scores: dict[str, float]) -> bool:
    rounded = np.fromiter(scores.values(), np.float32, len(scores))
    return len(np.unique(rounded)) < len(rounded)


def _in_order(scores: dict[str, float]) -> dict[str, float]:
    return {p: float(len(scores) - i) for i, (p, _) in enumerate(ranking(scores))}


def means(values: ByTopic) -> dict[str, float]:
    """The mean of each measure over the topics."""
    return {name: fmean(by_query.values()) for name, by_query in values.items()}


def headline(qrels: Qrels, run: Run) -> float:
    """The mean of the headline measure over the judged topics."""
    return means(by_topic(qrels, run, [HEADLINE]))[HEADLINE]
