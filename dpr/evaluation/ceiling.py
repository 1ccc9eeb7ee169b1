"""What a run would score if a re-ranker made no mistake: its limit from above."""

from dpr import measures
from dpr.records.run import Run
from dpr.records.types import Found, Qrels


def of_reranking(qrels: Qrels, run: Found, depth: int) -> float:
    """Mean nDCG@10 over the judged topics, with each topic's first `depth` passages by grade."""
    perfect = {}
    for query_id, first in Run.of(run).first(depth).items():
        grades = qrels.get(query_id, {})
        perfect[query_id] = {p: float(max(grades.get(p, 0), 0)) for p in first}
    return measures.headline(qrels, perfect)
