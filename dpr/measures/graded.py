"""The grades of a run in the order of its ranks, and the common measures over all topics at once.

Each gives what trec_eval gives (judged@k: what ir_measures gives), to the last bit: sums are in the
order of ranks, in 64-bit floats.
"""

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np

from dpr.records.run import Run
from dpr.records.types import RELEVANT, Qrels

UNJUDGED = np.iinfo(np.int32).min
TOPICS_AT_ONCE = 2_000  # in memory, each with as many ranks as the longest run of them


class Graded:
    """`grades`: (T, D) int32 of the judged topics, by rank; UNJUDGED also beyond a topic's run.

    Args:
        qrels: the T topics; one that the run lacks has no grades.
        depth: the first ranks that count; None: all.
        places: `run.positions` of the judged passages, if known.
    """

    def __init__(
        self, qrels: Qrels, run: Run, depth: int | None = None, places: np.ndarray | None = None
    ):
        found = {query_id: topic for topic, query_id in enumerate(run.query_ids)}
        here = np.array([found.get(query_id, -1) for query_id in qrels], np.int64)
        lengths = np.append(np.diff(run.bounds), 0)[here]  # the last, 0, is that of topic -1
        self.lengths = lengths if depth is None else np.minimum(lengths, depth)
        self.grades = np.full((len(qrels), max(self.lengths, default=0)), UNJUDGED, np.int32)
        judged = _judged(qrels, run, here, _places(qrels, run) if places is None else places)
        inside = np.arange(self.grades.shape[1]) < self.lengths[:, None]
        starts = np.append(run.bounds[:-1], 0)[here]
        rows = (starts[:, None] + np.arange(self.grades.shape[1]))[inside]
        self.grades[inside] = judged(run.topics[rows], run.passages[rows])
        self.best = _best(qrels)

    @cached_property
    def relevant(self) -> np.ndarray:
        """(T, D) bool."""
        return self.grades >= RELEVANT

    @cached_property
    def found(self) -> np.ndarray:
        """(T, D) int32, relevant passages up to each rank."""
        return np.cumsum(self.relevant, axis=1, dtype=np.int32)

    @cached_property
    def all_relevant(self) -> np.ndarray:
        """(T,) int, relevant passages of each topic, found or not."""
        return (self.best >= RELEVANT).sum(axis=1)


def in_blocks(qrels: Qrels, run: Run, depth: int | None = None) -> Iterator[Graded]:
    """Of some topics at a time, in the order of the judgments."""
    query_ids, places, done = list(qrels), _places(qrels, run), 0
    for start in range(0, max(1, len(query_ids)), TOPICS_AT_ONCE):
        some = {query_id: qrels[query_id] for query_id in query_ids[start : start + TOPICS_AT_ONCE]}
        count = sum(map(len, some.values()))
        yield Graded(some, run, depth, places[done : done + count])
        done += count


def _places(qrels: Qrels, run: Run) -> np.ndarray:
    """Of each judgment, in order: where the run has its passage among its ids, or -1."""
    return run.positions([passage_id for grades in qrels.values() for passage_id in grades])


def _judged(
    qrels: Qrels, run: Run, here: np.ndarray, at: np.ndarray
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Grades of (topics, passages) of the run."""
    counts = [len(grades) for grades in qrels.values()]
    topics = np.repeat(here, counts)
    known = (topics >= 0) & (at >= 0)
    grades = np.array([g for found in qrels.values() for g in found.values()], np.int32)[known]
    keys = topics[known] * len(run.ids) + at[known]
    ascending = np.argsort(keys)
    keys, grades = np.append(keys[ascending], -1), np.append(grades[ascending], UNJUDGED)

    def grades_of(topics: np.ndarray, passages: np.ndarray) -> np.ndarray:
        wanted = topics.astype(np.int64) * len(run.ids) + passages
        found = np.searchsorted(keys[:-1], wanted)
        return np.where(keys[found] == wanted, grades[found], UNJUDGED)

    return grades_of


def _best(qrels: Qrels) -> np.ndarray:
    """(T, M) int32, the grades of each topic in the best order, filled up with 0."""
    best = np.zeros((len(qrels), max(map(len, qrels.values()), default=0)), np.int32)
    for row, grades in zip(best, qrels.values(), strict=True):
        row[: len(grades)] = sorted(grades.values(), reverse=True)
    return best


def ndcg(graded: Graded, k: int | None) -> np.ndarray:
    """(T,) of nDCG with the grades as gains (Järvelin and Kekäläinen 2002)."""
    gained, ideal = _dcg(graded.grades, k), _dcg(graded.best, k)
    return np.divide(gained, ideal, out=np.zeros_like(ideal), where=ideal > 0)


def _dcg(grades: np.ndarray, k: int | None) -> np.ndarray:
    gains = np.maximum(grades[:, :k], 0) / np.log2(np.arange(2, grades[:, :k].shape[1] + 2))
    return _last(np.cumsum(gains, axis=1))


def average_precision(graded: Graded, k: int | None) -> np.ndarray:
    """(T,) of AP; with k, of the first k passages, over all relevant ones (`map_cut_k`)."""
    ranks = np.arange(1, graded.grades.shape[1] + 1)[:k]
    precision = np.where(graded.relevant[:, :k], graded.found[:, :k] / ranks, 0.0)
    return _last(np.cumsum(precision, axis=1)) / np.maximum(graded.all_relevant, 1)


def reciprocal_rank(graded: Graded, k: int | None) -> np.ndarray:
    relevant = graded.relevant[:, :k]
    if not relevant.shape[1]:
        return np.zeros(len(relevant))
    return np.where(relevant.any(axis=1), 1 / (relevant.argmax(axis=1) + 1), 0.0)


def precision(graded: Graded, k: int) -> np.ndarray:
    return _last(graded.found[:, :k]) / k


def recall(graded: Graded, k: int) -> np.ndarray:
    return _last(graded.found[:, :k]) / np.maximum(graded.all_relevant, 1)


def success(graded: Graded, k: int) -> np.ndarray:
    return (_last(graded.found[:, :k]) > 0).astype(float)


def judged(graded: Graded, k: int | None) -> np.ndarray:
    """(T,) of the share of the first k passages, fewer in a short run, that have a judgment."""
    shown = graded.lengths if k is None else np.minimum(graded.lengths, k)
    return (graded.grades[:, :k] != UNJUDGED).sum(axis=1) / np.maximum(shown, 1)


def _last(sums: np.ndarray) -> np.ndarray:
    return sums[:, -1] if sums.shape[1] else np.zeros(len(sums))


# By the names of ir_measures; `dpr.measures` leaves others to ir_measures.
MEASURES: dict[str, Callable[..., np.ndarray]] = {
    "nDCG": ndcg,
    "AP": average_precision,
    "RR": reciprocal_rank,
    "P": precision,
    "R": recall,
    "Success": success,
    "Judged": judged,
}


def needs(name: str) -> set[str]:
    """The parameters that a measure cannot go without."""
    return {"cutoff"} if name in ("P", "R", "Success") else set()
