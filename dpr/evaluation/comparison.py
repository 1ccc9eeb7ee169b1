"""Systems side by side: means with intervals, tests against references, curves, and ceilings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dpr import measures
from dpr.base.errors import InputError
from dpr.evaluation import significance
from dpr.measures import ByTopic
from dpr.records.run import Run
from dpr.records.types import Qrels, RunLike, is_relevant

Results = dict[str, ByTopic]  # {system: {measure: {query id: value}}}
DEPTHS = [1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000]  # of the recall curve
LEVELS = [round(0.1 * i, 1) for i in range(11)]  # the eleven standard points of recall


def compare_systems(results: Results, references: Sequence[str], seed: int) -> dict[str, Any]:
    """Each system's means, and its differences from the references, tested.

    Returns:
        {"systems": {system: {measure: {mean, low, high}}},
         "against": {reference: {system: {measure: {difference, p_randomization, p_t, p_holm,
                                                    wins, ties, losses}}}}}
        p_holm is the randomization test's p value, corrected for the number of systems compared
        with the same reference in the same measure.
    Raises:
        InputError: for a reference that is not among the systems.
    """
    for reference in references:
        if reference not in results:
            raise InputError(
                f"params.yaml: eval.references: {reference!r} is no system; choose from "
                + ", ".join(results)
            )
    intervals = iter(significance.intervals(_values(results, list(results)), seed))
    systems = {s: {m: next(intervals)._asdict() for m in results[s]} for s in results}
    against = {reference: _against(results, reference, seed) for reference in references}
    return {"systems": systems, "against": against}


def _against(results: Results, reference: str, seed: int) -> dict[str, Any]:
    others, names = [s for s in results if s != reference], list(results[reference])
    repeated = np.tile(_values(results, [reference]), (len(others), 1))
    tests = iter(significance.compare(_values(results, others), repeated, seed))
    compared = {system: {name: next(tests) for name in names} for system in others}
    rows: dict[str, Any] = {system: {} for system in others}
    for name in names:
        corrected = significance.holm({s: compared[s][name].p_randomization for s in others})
        for system in others:
            rows[system][name] = compared[system][name]._asdict() | {"p_holm": corrected[system]}
    return rows


def _values(results: Results, systems: Sequence[str]) -> np.ndarray:
    """(systems * measures, n topics): all rows share the random draws, the main cost."""
    names, topics = next(iter(results.values())), next(iter(next(iter(results.values())).values()))
    return np.array([[results[s][name][q] for q in topics] for s in systems for name in names])


def precision_by_recall(qrels: Qrels, run: RunLike) -> dict[float, float]:
    """Mean interpolated precision at the eleven standard points of recall, over judged topics.

    Interpolated: the highest precision at or after a point. The share of relevant passages at a
    point is rounded half up, as in trec_eval's reference output (`iprec_at_recall`); pytrec_eval
    rounds differently.
    """
    run = Run.of(run)
    precision = np.zeros((len(LEVELS), len(qrels)))
    for topic, (query_id, grades) in enumerate(qrels.items()):
        relevant = sum(map(is_relevant, grades.values()))
        if relevant and query_id in run:
            hits = np.cumsum([is_relevant(grades.get(passage_id)) for passage_id in run[query_id]])
            at_rank = np.append(hits / np.arange(1, len(hits) + 1), 0.0)  # 0: at no rank
            needed = np.floor(np.array(LEVELS) * relevant + 0.5)
            highest = np.maximum.accumulate(at_rank[::-1])[::-1]  # here or at a later rank
            precision[:, topic] = highest[np.searchsorted(hits, needed)]
    return dict(zip(LEVELS, precision.mean(axis=1).tolist(), strict=True))


def of_reranking(qrels: Qrels, run: RunLike, depth: int) -> float:
    """Mean nDCG@10 if a re-ranker put each topic's first `depth` passages in order of grade."""
    perfect = {}
    for query_id, first in Run.of(run).first(depth).items():
        grades = qrels.get(query_id, {})
        perfect[query_id] = {p: float(max(grades.get(p, 0), 0)) for p in first}
    return measures.mean_primary_measure(qrels, perfect)
