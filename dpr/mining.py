"""Hard negatives: passages that a ranker puts high for a training query and that do not answer it.

Xiong et al. 2021 (ANCE, https://arxiv.org/abs/2007.00808) for why; Moreira et al. 2024
(NV-Retriever, https://arxiv.org/abs/2407.15831) for the margin below the positive's score.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dpr import lucene
from dpr.collections.records import Pair, Passage, Query
from dpr.embeddings import Embeddings
from dpr.encoder import DualEncoder
from dpr.indexes.exact import as_run, exact_search
from dpr.measures import Qrels, Run
from dpr.queries import embed_queries
from dpr.settings import Bm25Settings, EncodeSettings, MineSource

QUERIES_AT_ONCE = 1_000

# Queries, and the positives of each: a run of the best passages, and of these where they score.
Ranker = Callable[[list[Query], dict[str, list[str]]], Run]


def add_negatives(
    pairs: list[Pair],
    queries: dict[str, Query],
    never: dict[str, set[str]],
    rankers: list[tuple[Ranker, MineSource]],
    per_pair: int,
    seed: int,
) -> list[Pair]:
    """The pairs, each with up to `per_pair` mined negatives behind those that it brings.

    A candidate stands between a source's first and last rank for the query, scores at least the
    source's margin below the pair's own passage there, and is none of `never[query_id]`. A pair
    whose passage the source does not score has no candidates under a margin.
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
        pair._replace(
            negative_ids=tuple(
                dict.fromkeys(pair.negative_ids + mined.get((pair.query_id, pair.passage_id), ()))
            )
        )
        for pair in pairs
    ]


def candidates(scores: dict[str, float], own: str, source: MineSource) -> list[str]:
    """Passages of one query's ranking at the source's ranks and below its margin."""
    ranked = sorted(scores, key=lambda p: (-scores[p], p))
    chosen = ranked[source.first_rank - 1 : source.last_rank]
    if source.margin is None:
        return chosen
    highest = scores.get(own, -np.inf) - source.margin
    return [passage_id for passage_id in chosen if scores[passage_id] <= highest]


def never_negative(
    pairs: list[Pair], queries: dict[str, Query], qrels: Qrels, texts: Iterable[tuple[str, str]]
) -> dict[str, set[str]]:
    """For each query, the passages that are no negatives of it.

    They are the positives of its pairs and all that is judged relevant to it, or to a query of the
    same text, and the passages of the same text as any of these.

    Args:
        texts: (id, text) of every passage.
    """
    of_text: dict[str, set[str]] = {}
    for pair in pairs:
        of_text.setdefault(_same(queries[pair.query_id].text), set()).add(pair.passage_id)
    for query_id, grades in qrels.items():
        if (text := _same(queries[query_id].text)) in of_text:
            of_text[text] |= {passage_id for passage_id, grade in grades.items() if grade > 0}
    copies: dict[bytes, set[str]] = {}
    for passage_id, text in texts:
        copies.setdefault(_digest(text), set()).add(passage_id)
    copies_of = {p: same for same in copies.values() if len(same) > 1 for p in same}
    for relevant in of_text.values():
        relevant |= {copy for p in relevant & copies_of.keys() for copy in copies_of[p]}
    return {pair.query_id: of_text[_same(queries[pair.query_id].text)] for pair in pairs}


def bm25_ranker(
    passages: Iterator[Passage],
    separator: str,
    folder: Path,
    settings: Bm25Settings,
    depth: int,
    threads: int,
) -> Ranker:
    """BM25 over the passages, of which it makes an index in `folder`."""
    lucene.build_index(passages, separator, folder)

    def rank(queries: list[Query], positives: dict[str, list[str]]) -> Run:
        return lucene.search(folder, queries, settings.k1, settings.b, depth, threads)

    return rank


def encoder_ranker(
    encoder: DualEncoder, embeddings: Embeddings, options: EncodeSettings, depth: int
) -> Ranker:
    """Exact search with the encoder over the embeddings that it made."""
    row_of = {passage_id: row for row, passage_id in enumerate(embeddings.ids)}

    def rank(queries: list[Query], positives: dict[str, list[str]]) -> Run:
        vectors = embed_queries(encoder, [query.text for query in queries], options)
        ranked = exact_search(embeddings, vectors, depth)
        found = as_run([query.id for query in queries], *ranked, embeddings.ids)
        for query, vector in zip(queries, vectors, strict=True):
            ids = positives[query.id]
            rows = np.asarray(embeddings.vectors[[row_of[p] for p in ids]], dtype=np.float32)
            own = encoder.similarity.scores(torch.from_numpy(vector[None]), torch.from_numpy(rows))
            found[query.id] = dict(zip(ids, own[0].tolist(), strict=True)) | found[query.id]
        return found

    return rank


def _same(text: str) -> str:
    return " ".join(text.casefold().split())


def _digest(text: str) -> bytes:
    return hashlib.blake2b(_same(text).encode(), digest_size=16).digest()
