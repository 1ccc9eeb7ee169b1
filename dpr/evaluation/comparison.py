"""Systems side by side: means with intervals, tests of all pairs, curves, and ceilings."""

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from dpr import measures
from dpr.base.errors import InputError
from dpr.evaluation import power, significance
from dpr.measures import PRIMARY_MEASURE, ByTopic
from dpr.records.run import Run
from dpr.records.types import SYSTEMS, Qrels, RunLike, is_relevant

Results = dict[str, ByTopic]  # {system: {measure: {query id: value}}}
DEPTHS = [1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000]  # of the recall curve
LEVELS = [round(0.1 * i, 1) for i in range(11)]  # the eleven standard points of recall
RUN_FILES = (".txt", ".run", ".trec")
LABEL = re.compile(r"[\w.+-]+")


def run_files(runs: str | Path, external: str | Path | None) -> dict[str, Path]:
    """{system: file of its run}: the systems of the graph, then foreign ones by their file names.

    Args:
        runs: folder of the graph's runs of a split.
        external: folder of foreign runs, such as splade.txt, whose system is `splade`.
    Raises:
        InputError: for a file that is no run by its name, or a label that is used twice.
    """
    found = {system: Path(runs) / f"{system}.txt" for system in SYSTEMS}
    reranked = found["reranked"]
    if not (reranked.exists() and reranked.stat().st_size):
        del found["reranked"]  # no cross-encoder is set
    for file in sorted(Path(external).glob("*")) if external else ():
        if file.name == "README.md" or file.name.startswith(".") or file.suffix == ".dvc":
            continue
        if not (file.is_file() and LABEL.fullmatch(file.stem)):
            raise InputError(f"{file}: name the run by letters, digits, `.`, `_`, `+` and `-`")
        if file.suffix not in RUN_FILES:
            raise InputError(f"{file}: a run ends in {', '.join(RUN_FILES)}; rename or remove it")
        if file.stem in found:
            taken = found[file.stem]
            raise InputError(f"{file}: the label {file.stem} is taken by {taken}; rename this file")
        found[file.stem] = file
    return found


def judged_topics(qrels: Qrels, run: Run) -> int:
    """How many judged topics a foreign run has; 0 for a run of a different collection.

    Such a run may have topics with the same ids, but none of its passages is judged.
    """
    topics = [query_id for query_id in qrels if query_id in run]
    found_judged = any(qrels[query_id].keys() & run[query_id].keys() for query_id in topics)
    return len(topics) if found_judged else 0


def compare_systems(results: Results, seed: int) -> dict[str, Any]:
    """Each system's means, and the differences of all pairs, tested.

    Args:
        results: in an order that does not depend on the figures, so that no difference turns its
            sign from one experiment to the next.
    Returns:
        {"topics": number,
         "systems": {system: {measure: {mean, low, high}}},
         "against": {reference: {system: {measure: {difference, low, high, p_randomization, p_t,
                                                    p_holm, wins, ties, losses,
                                                    detectable, topics_needed}}}}}
        A pair is under the system that comes first in `results`. `low` and `high` are the 95 %
        interval. p_holm is p_randomization, corrected for the number of pairs. The last two are
        those of power.py.
    """
    names = list(next(iter(results.values())))
    pairs = list(combinations(results, 2))
    before, after = (_values(results, [pair[side] for pair in pairs]) for side in (0, 1))
    means = _values(results, list(results))
    intervals = iter(significance.intervals(np.concatenate([means, after - before]), seed))
    systems = {s: {m: next(intervals)._asdict() for m in names} for s in results}
    against: dict[str, Any] = {}
    tests = iter(significance.compare(after, before, seed))
    powers = iter(power.of(after - before))
    for reference, system in pairs:
        rows = against.setdefault(reference, {}).setdefault(system, {})
        for name in names:
            interval = next(intervals)
            ends = {"low": interval.low, "high": interval.high}
            rows[name] = next(tests)._asdict() | ends | next(powers)._asdict()
    for name in names:
        p_values = {pair: against[pair[0]][pair[1]][name]["p_randomization"] for pair in pairs}
        for (reference, system), p_holm in significance.holm(p_values).items():
            against[reference][system][name]["p_holm"] = p_holm
    topics = len(next(iter(next(iter(results.values())).values())))
    return {"topics": topics, "systems": systems, "against": against}


def best_first(compared: dict[str, Any], measure: str = PRIMARY_MEASURE) -> list[str]:
    """The systems of `compare_systems` in order of a measure."""
    means = {system: of[measure]["mean"] for system, of in compared["systems"].items()}
    return sorted(means, key=lambda system: -means[system])


def _values(results: Results, systems: list[str]) -> np.ndarray:
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
