"""What a run would score if a re-ranker made no mistake: its limit from above."""

from dpr import measures
from dpr.records.ranking import ranking
from dpr.records.types import Qrels, Run


def of_reranking(qrels: Qrels, run: Run, depth: int) -> float:
    """Mean nDCG@10 over the judged topics, with each topic's first `depth` passages by grade."""
    perfect = {}
    for query_id, scores in run.items():
        grades, first = qrels.get(query_id, {}), ranking(scores)[:depth]
        perfect[query_id] = {p: float(max(grades.get(p, 0), 0)) for p, _ in first}
    return measures.headline(qrels, perfect)
