"""Which passages near the top of a ranking become hard negatives of a query.

They are ranked high for a training query but do not answer it. Xiong et al. 2021 (ANCE,
https://arxiv.org/abs/2007.00808) say why; the margin below the score of the pair's own passage is
from Moreira et al. 2024 (NV-Retriever, https://arxiv.org/abs/2407.15831).
"""

import hashlib
from collections.abc import Iterable

from dpr.records.text import folded
from dpr.records.types import Pair, Qrels, Query, is_relevant
from dpr.settings import MineSource


def candidates(scores: dict[str, float], own: str, source: MineSource) -> list[str]:
    """Passages of one query's ranking between the source's ranks.

    With a margin, only those that score at least so much below the pair's own passage, or such a
    share of its score; none if that passage has no score.
    """
    ranked = sorted(scores, key=lambda p: (-scores[p], p))
    chosen = ranked[source.first_rank - 1 : source.last_rank]
    if source.margin is None and source.relative_margin is None:
        return chosen
    if own not in scores:
        return []
    positive = scores[own]
    # As sentence-transformers' mine_hard_negatives: below a negative score too.
    highest = positive - max(source.margin or 0.0, (source.relative_margin or 0.0) * abs(positive))
    return [passage_id for passage_id in chosen if scores[passage_id] <= highest]


def never_negative(
    pairs: list[Pair], queries: dict[str, Query], qrels: Qrels, texts: Iterable[tuple[str, str]]
) -> dict[str, set[str]]:
    """For each query of the pairs, the passages that are no negatives.

    They are the positives and the relevant passages of it and of queries with the same text, all
    duplicates of these, and the passage that is the query itself.

    Args:
        texts: (id, text) of every passage.
    """
    relevant_to: dict[str, set[str]] = {}  # by the text of the query
    for pair in pairs:
        relevant_to.setdefault(folded(queries[pair.query_id].text), set()).add(pair.passage_id)
    for query_id, grades in qrels.items():
        if (text := folded(queries[query_id].text)) in relevant_to:
            relevant_to[text] |= {p for p, grade in grades.items() if is_relevant(grade)}
    by_text: dict[bytes, set[str]] = {}
    for passage_id, text in texts:
        by_text.setdefault(_digest(text), set()).add(passage_id)
    duplicates_of = {p: ids for ids in by_text.values() if len(ids) > 1 for p in ids}
    for relevant in relevant_to.values():
        relevant |= {d for p in relevant & duplicates_of.keys() for d in duplicates_of[p]}
    return {
        pair.query_id: relevant_to[folded(queries[pair.query_id].text)]
        | ({pair.query_id} if queries[pair.query_id].is_passage else set())
        for pair in pairs
    }


def _digest(text: str) -> bytes:
    return hashlib.blake2b(folded(text).encode(), digest_size=16).digest()
