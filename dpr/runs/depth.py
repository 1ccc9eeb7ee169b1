"""How deep a run goes, and the passage that it leaves out: decided here for every system."""

from dpr.records.ranking import ranking
from dpr.records.types import Run


def search_depth(top_k: int, drop_query_id: bool | None) -> int:
    """`top_k`, and one more if the query's own passage may be dropped."""
    return top_k + bool(drop_query_id)


def finish(run: Run, top_k: int, drop_query_id: bool | None) -> Run:
    """The final run, from one of `search_depth` passages.

    With `drop_query_id`, it lacks the passage with the query's id, for collections whose queries
    are passages. (In ArguAna the query finds itself first.)
    """
    if not drop_query_id:
        return run
    return {
        query_id: dict([row for row in ranking(scores) if row[0] != query_id][:top_k])
        for query_id, scores in run.items()
    }
