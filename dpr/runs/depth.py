"""How deep a run goes, and the passage that it leaves out: decided here for every system."""

from dpr.records.run import Run
from dpr.records.types import Found, Query


def search_depth(top_k: int, queries: dict[str, Query]) -> int:
    """`top_k`, and one more if some query is a passage, which is left out."""
    return top_k + any(query.is_passage for query in queries.values())


def finish(run: Found, top_k: int, queries: dict[str, Query]) -> Run:
    """The final run, from one of `search_depth` passages.

    It lacks the passage that is the query itself. (In ArguAna the query finds itself first.)
    """
    run = Run.of(run)
    if search_depth(top_k, queries) == top_k:
        return run
    own = run.positions(run.query_ids)
    own[[not queries[query_id].is_passage for query_id in run.query_ids]] = -1
    return run.keep(run.passages != own[run.topics]).first(top_k)
