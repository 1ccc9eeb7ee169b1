"""The measures of record: trec_eval's own code, through ir_measures, over every judged topic."""

from statistics import fmean

import ir_measures
from ir_measures.measures import Measure

Qrels = dict[str, dict[str, int]]  # {query id: {passage id: grade}}
Run = dict[str, dict[str, float]]  # {query id: {passage id: score}}
ByTopic = dict[str, dict[str, float]]  # {measure: {query id: value}}


def parse_measure(name: str) -> Measure:
    """Names of ir_measures (`nDCG@10`, `AP`), and `recall@k` and `judged@k` for two of them.

    Raises:
        ValueError: for a name that is no measure, and for IPrec: the trec_eval code in ir_measures
            counts the documents that a recall level needs otherwise than trec_eval's own reference
            output does; `dpr.curves` has it.
    """
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


def by_topic(qrels: Qrels, run: Run, measures: list[str]) -> ByTopic:
    """Each measure for every judged topic; a topic that the run lacks counts as 0.

    (trec_eval's option -c; without it a system gains by leaving hard topics out.)
    """
    names = {parse_measure(name): name for name in measures}
    values = {name: dict.fromkeys(qrels, 0.0) for name in measures}
    for metric in ir_measures.iter_calc(list(names), qrels, run):
        if metric.query_id in qrels:
            values[names[metric.measure]][metric.query_id] = metric.value
    return values


def means(values: ByTopic) -> dict[str, float]:
    """The mean of each measure over the topics."""
    return {name: fmean(by_query.values()) for name, by_query in values.items()}
