"""How deep a run goes, and the passage that it leaves out: decided here for every system."""

from dpr.records.ranking import ranking
from dpr.records.types import Query, Run


def search_depth(top_k: int, queries: dict[str, Query]) -> int:
    """`top_k`, and one more if some query is a passage, which is left out."""
    return top_k + any(query.is_passage for query in queries.values())


def finish(run: Run, top_k: int, queries: dict[str, Query]) -> Run:
    """The final run, from one of `search_depth` passages.

    It lacks the passage that is the query itself. (In ArguAna the query finds itself first.)
    """
    if search_depth(top_k, queries) == top_k:
        return run
    return {
        query_id: dict(
            [
                row
                for row in ranking(scores)
                if row[0] != query_id or not queries[query_id].is_passage
            ][:top_k]
        )
        for query_id, scores in run.items()
    }
