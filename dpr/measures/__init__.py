"""The reported measures, over every judged topic, in trec_eval's order.

The common ones are computed over all topics at once; all others by ir_measures.
"""

from collections.abc import Iterator
from itertools import islice
from statistics import fmean
from typing import Any

from dpr.measures.graded import MEASURES, in_blocks, needs
from dpr.records.run import Run
from dpr.records.types import Found, Qrels

TOPICS_AT_ONCE = 500  # that ir_measures sees

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
    for name in names:
        check_one(name)
    if len({parse_measure(name) for name in names}) < len(names):
        raise ValueError("a measure is listed twice")
    if HEADLINE not in names:
        raise ValueError(f"{HEADLINE}, the headline of plots and tables, must be among them")
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


def by_topic(qrels: Qrels, run: Found, measures: list[str]) -> ByTopic:
    """Each measure for every judged topic; a topic that the run lacks counts as 0.

    That is trec_eval's option -c: without it a system gains by leaving out hard topics.
    """
    run = Run.of(run)
    parsed = {name: parse_measure(name) for name in measures}
    ours = {name: m for name, m in parsed.items() if _at_once(m)}
    values = {name: dict.fromkeys(qrels, 0.0) for name in measures}
    if ours:
        cutoffs = [cutoff(name) for name in ours]
        deepest = None if None in cutoffs else max(c for c in cutoffs if c is not None)
        topics = iter(qrels)
        for grades in in_blocks(qrels, run, deepest):
            some = list(islice(topics, len(grades.grades)))
            for name, measure in ours.items():
                found = MEASURES[measure.NAME](grades, cutoff(name))
                values[name].update(zip(some, found.tolist(), strict=True))
    others = {measure: name for name, measure in parsed.items() if name not in ours}
    for measure, query_id, value in _by_ir_measures(qrels, run, list(others)):
        values[others[measure]][query_id] = value
    return values


def _at_once(measure: Any) -> bool:
    """Whether `dpr.measures.graded` has it: with a depth at most, and no other parameter."""
    params = measure.params.keys()
    return measure.NAME in MEASURES and params <= {"cutoff"} and params >= needs(measure.NAME)


def _by_ir_measures(
    qrels: Qrels, run: Run, measures: list[Any]
) -> Iterator[tuple[Any, str, float]]:
    """(measure, topic, value) of the judged topics that the run has, some topics at a time."""
    import ir_measures

    asked = [query_id for query_id in qrels if query_id in run] if measures else []
    for start in range(0, len(asked), TOPICS_AT_ONCE):
        some = asked[start : start + TOPICS_AT_ONCE]
        topics = {str(number): query_id for number, query_id in enumerate(some, 1)}
        # It gives some measures to libraries that break ties the other way: ranks have none. One,
        # gdeval, takes only numbers as topics, and adds a topic of its own: the mean.
        scores = {n: {p: -float(r) for r, p in enumerate(run[q])} for n, q in topics.items()}
        judged = {n: qrels[q] for n, q in topics.items()}
        for found in ir_measures.iter_calc(measures, judged, scores):
            if found.query_id in topics:
                yield found.measure, topics[found.query_id], found.value


def means(values: ByTopic) -> dict[str, float]:
    """The mean of each measure over the topics."""
    return {name: fmean(by_query.values()) for name, by_query in values.items()}


def headlines(results: dict[str, ByTopic]) -> str:
    """The mean of the headline measure of each system, in one line."""
    values = (f"{system} {means(by)[HEADLINE]:.3f}" for system, by in results.items())
    return f"{HEADLINE} {', '.join(values)}"


def headline(qrels: Qrels, run: Found) -> float:
    """The mean of the headline measure over the judged topics."""
    return means(by_topic(qrels, run, [HEADLINE]))[HEADLINE]
