"""The order of a run, and how deep it goes: decided here for every system."""

import numpy as np

from dpr.records.types import Run
from dpr.settings import SearchSettings


def ranking(scores: dict[str, float]) -> list[tuple[str, float]]:
    """(passage id, 32-bit score), best first, equal scores by id descending: trec_eval's order."""
    rounded = np.fromiter(scores.values(), np.float32, len(scores)).tolist()
    order = sorted(zip(rounded, scores, strict=True), reverse=True)
    return [(passage_id, score) for score, passage_id in order]


def search_depth(settings: SearchSettings) -> int:
    """`top_k`, and one more if the query's own passage may be dropped."""
    return settings.top_k + settings.drop_query_id


def finish(run: Run, settings: SearchSettings) -> Run:
    """The final run, from one of `search_depth` passages.

    With `drop_query_id`, it lacks the passage with the query's id, for collections whose queries
    are passages. (In ArguAna the query finds itself first.)
    """
    if not settings.drop_query_id:
        return run
    return {
        query_id: dict([row for row in ranking(scores) if row[0] != query_id][: settings.top_k])
        for query_id, scores in run.items()
    }
