"""Which passages near the top of a ranking become hard negatives of a query.

They are ranked high for a training query but do not answer it. Xiong et al. 2021 (ANCE,
https://arxiv.org/abs/2007.00808) say why; the margin below the score of the pair's own passage is
from Moreira et al. 2024 (NV-Retriever, https://arxiv.org/abs/2407.15831).
"""

import hashlib
import itertools
import random
from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from dpr.mining.rankers import Ranker
from dpr.records.text import folded
from dpr.records.types import Pair, Qrels, Query
from dpr.settings import MineSource

QUERIES_AT_ONCE = 1_000


def add_negatives(
    pairs: list[Pair],
    queries: dict[str, Query],
    never: dict[str, set[str]],
    rankers: list[tuple[Ranker, MineSource]],
    per_pair: int,
    seed: int,
) -> list[Pair]:
    """The pairs, each with up to `per_pair` mined negatives after those that it already has.

    They are drawn by seed from the `candidates` of all rankers that are not in `never[query_id]`.
    """
    positives: dict[str, list[str]] = {}
    for pair in pairs:
        positives.setdefault(pair.query_id, []).append(pair.passage_id)
    rng = random.Random(seed)
    mined: dict[tuple[str, str], tuple[str, ...]] = {}
    query_ids = iter(positives)
    with tqdm(total=len(positives), unit=" queries", disable=None) as bar:
        while block := list(itertools.islice(query_ids, QUERIES_AT_ONCE)):
            wanted = {query_id: positives[query_id] for query_id in block}
            runs = [
                (ranker([queries[query_id] for query_id in block], wanted), source)
                for ranker, source in rankers
            ]
            for query_id in block:
                for own in wanted[query_id]:
                    found = {
                        candidate
                        for run, source in runs
                        for candidate in candidates(run.get(query_id, {}), own, source)
                    } - never[query_id]
                    drawn = rng.sample(sorted(found), min(per_pair, len(found)))
                    mined[query_id, own] = tuple(drawn)
            bar.update(len(block))
    return [
        _with_negatives(pair, mined.get((pair.query_id, pair.passage_id), ())) for pair in pairs
    ]


def candidates(scores: dict[str, float], own: str, source: MineSource) -> list[str]:
    """Passages of one query's ranking between the source's ranks.

    With a margin, only those that score at least so much below the pair's own passage; none if
    that passage has no score.
    """
    ranked = sorted(scores, key=lambda p: (-scores[p], p))
    chosen = ranked[source.first_rank - 1 : source.last_rank]
    if source.margin is None:
        return chosen
    highest = scores.get(own, -np.inf) - source.margin
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
            relevant_to[text] |= {p for p, grade in grades.items() if grade > 0}
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


def _with_negatives(pair: Pair, mined: tuple[str, ...]) -> Pair:
    return pair._replace(negative_ids=tuple(dict.fromkeys(pair.negative_ids + mined)))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(folded(text).encode(), digest_size=16).digest()
