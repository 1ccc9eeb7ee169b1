"""The reported measures, over every judged topic, in trec_eval's order.

trec_eval's own code computes the common ones, through pytrec_eval. ir_measures, which loads slowly,
is loaded for the other ones alone.
"""

import re
from collections.abc import Iterator
from itertools import islice
from statistics import fmean
from typing import Any, NamedTuple

from dpr.records.run import Run
from dpr.records.types import Qrels, RunLike, Scores

TOPICS_AT_ONCE = 500  # as dictionaries in memory

PRIMARY_DEPTH = 10
PRIMARY_MEASURE = f"nDCG@{PRIMARY_DEPTH}"  # of tables, plots, validation, fusion weight and audit
ByTopic = dict[str, dict[str, float]]  # {measure: {query id: value}}


class Measure(NamedTuple):
    """A common measure, such as P and 10 for P@10; without a cutoff it looks at the whole run."""

    name: str
    cutoff: int | None


# {name in ir_measures: (trec_eval's name without a cutoff, and with one); None: there is none}
COMMON = {
    "nDCG": ("ndcg", "ndcg_cut_{}"),
    "AP": ("map", "map_cut_{}"),
    "RR": ("recip_rank", "recip_rank"),  # trec_eval has no cutoff here; see `_by_trec_eval`
    "P": (None, "P_{}"),
    "R": (None, "recall_{}"),
    "Success": (None, "success_{}"),
    "Judged": ("num_ret", "num_ret"),  # not in trec_eval; see `_by_trec_eval`
}
ALIASES = {
    **{"recall": "R", "judged": "Judged", "NDCG": "nDCG", "MAP": "AP", "MRR": "RR"},
    **{"Precision": "P", "Recall": "R"},
}


def _parse(name: str) -> Any:
    """A `Measure`, or one of ir_measures (`Rprec`, `AP(rel=2)`).

    Raises:
        ValueError: for an unknown name, and for IPrec, which ir_measures rounds unlike trec_eval's
            reference output; see `dpr.evaluation.comparison`.
    """
    simple = re.fullmatch(r"(\w+?)(?:@([0-9]+))?", name)
    if simple and (common := ALIASES.get(simple[1], simple[1])) in COMMON:
        if simple[2]:
            return Measure(common, int(simple[2]))
        if COMMON[common][0]:
            return Measure(common, None)
    if name.startswith("IPrec"):
        raise ValueError(f"{name!r} is not offered as a measure; see plots/precision.csv")
    import ir_measures  # here and below, since it loads slowly

    try:
        return ir_measures.parse_measure(name)
    except (NameError, ValueError, SyntaxError) as error:
        raise ValueError(
            f"{name!r} is no measure of ir_measures, such as nDCG@10: {error}"
        ) from None


def cutoff(name: str) -> int | None:
    """The depth to which a measure looks; None for one that looks at the whole run."""
    measure = _parse(name)
    depth: int | None = (
        measure.cutoff if isinstance(measure, Measure) else measure.params.get("cutoff")
    )
    return depth


def check(names: list[str]) -> list[str]:
    """The names; ValueError for one that cannot be computed, a duplicate, or no primary measure."""
    for name in names:
        check_one(name)
    if len(set(map(_parse, names))) < len(names):
        raise ValueError("a measure is listed twice")
    if PRIMARY_MEASURE not in names:
        raise ValueError(f"{PRIMARY_MEASURE}, the primary measure, must be among them")
    return names


def check_one(name: str) -> str:
    """The name; ValueError if it cannot be computed."""
    try:
        if (depth := cutoff(name)) is not None and depth < 1:
            raise ValueError("it looks at no passage; its depth must be 1 or more")
        by_topic({"q": {"d": 1}}, {"q": {"d": 1.0}}, [name])  # some measures fail only then
    except Exception as error:
        raise ValueError(f"{name!r} cannot be computed: {error}") from None
    return name


def by_topic(qrels: Qrels, run: RunLike, measures: list[str]) -> ByTopic:
    """Each measure for every judged topic; a topic that the run lacks counts as 0.

    That is trec_eval's option -c: without it a system gains by leaving out hard topics.
    """
    run = Run.of(run)
    parsed = {name: _parse(name) for name in measures}
    common = {name: m for name, m in parsed.items() if isinstance(m, Measure)}
    other = {measure: name for name, measure in parsed.items() if name not in common}
    values = {name: dict.fromkeys(qrels, 0.0) for name in measures}
    query_ids = (query_id for query_id in qrels if query_id in run)
    while batch := list(islice(query_ids, TOPICS_AT_ONCE)):
        ranked = {query_id: scores for query_id in batch if (scores := run[query_id])}
        for name, query_id, value in _by_trec_eval(common, qrels, ranked):
            values[name][query_id] = value
        for measure, query_id, value in _by_ir_measures(list(other), qrels, ranked):
            values[other[measure]][query_id] = value
    return values


def _by_trec_eval(
    measures: dict[str, Measure], qrels: Qrels, ranked: Scores
) -> Iterator[tuple[str, str, float]]:
    """(name, topic, value) of common measures by name."""
    from pytrec_eval import RelevanceEvaluator

    keys = {
        n: str(COMMON[m.name][m.cutoff is not None]).format(m.cutoff) for n, m in measures.items()
    }
    # None of these tells a negative grade from 0, but if a topic has no other grades, trec_eval's
    # code writes beyond its memory.
    grades = {q: {p: max(grade, 0) for p, grade in qrels[q].items()} for q in ranked}
    evaluator = RelevanceEvaluator(grades, set(keys.values()))
    for query_id, computed in evaluator.evaluate(ranked).items():
        for name, measure in measures.items():
            value = computed[keys[name]]
            if measure.name == "RR" and measure.cutoff and value < 1 / measure.cutoff:
                value = 0.0
            elif measure.name == "Judged":
                first = list(islice(ranked[query_id], measure.cutoff))
                value = sum(passage_id in qrels[query_id] for passage_id in first) / len(first)
            yield name, query_id, value


def _by_ir_measures(
    measures: list[Any], qrels: Qrels, ranked: Scores
) -> Iterator[tuple[Any, str, float]]:
    """(measure, topic, value) of measures of ir_measures."""
    # As above, a topic with negative grades alone is left out; it has 0.
    asked = [q for q in ranked if any(grade >= 0 for grade in qrels[q].values())]
    if not (measures and asked):
        return
    import ir_measures

    # Some libraries behind ir_measures break ties differently; negated ranks have no ties.
    # gdeval takes only numbers as topics, and adds the mean as a topic.
    topics = {str(number): query_id for number, query_id in enumerate(asked, 1)}
    scores = {n: {p: -float(r) for r, p in enumerate(ranked[q])} for n, q in topics.items()}
    for metric in ir_measures.iter_calc(measures, {n: qrels[q] for n, q in topics.items()}, scores):
        if metric.query_id in topics:
            yield metric.measure, topics[metric.query_id], metric.value


def means(values: ByTopic) -> dict[str, float]:
    """The mean of each measure over the topics."""
    return {name: fmean(by_query.values()) for name, by_query in values.items()}


def summary_line(results: dict[str, ByTopic]) -> str:
    """The mean of the primary measure of each system, in one line."""
    values = (f"{system} {means(by)[PRIMARY_MEASURE]:.3f}" for system, by in results.items())
    return f"{PRIMARY_MEASURE} {', '.join(values)}"


def mean_primary_measure(qrels: Qrels, run: RunLike) -> float:
    """The mean of the primary measure over the judged topics."""
    return means(by_topic(qrels, run, [PRIMARY_MEASURE]))[PRIMARY_MEASURE]
