"""How deep a run goes, and the passage that it leaves out: decided here for every system."""

from collections.abc import Iterable

import numpy as np

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


def counted(runs: Iterable[Run], top_k: int) -> str:
    """In words, how many topics some runs have, and how many passages each topic."""
    counts = np.concatenate([np.diff(run.bounds) for run in runs])
    least, most = (int(end) for end in (counts.min(initial=top_k), counts.max(initial=0)))
    if least == top_k:
        return f"{len(counts):,} topics, {top_k:,} passages each"
    passages = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    short = f"{int((counts < top_k).sum()):,} topics have fewer than {top_k:,}"
    return f"{len(counts):,} topics, {passages} passages each; {short}"
