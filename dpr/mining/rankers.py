"""The rankings for mining and for teachers: by BM25, and by an encoder."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from dpr.base.environment import is_first_process
from dpr.bm25 import lucene
from dpr.embeddings.artifact import Embeddings
from dpr.encoders.embedder import Embedder
from dpr.encoders.tokens import tokenize_queries
from dpr.indexes.exact_search import LOCAL, Resources, as_run, exact_search
from dpr.records.documents import search_documents
from dpr.records.ids import IdRows, digests
from dpr.records.run import Run
from dpr.records.types import Query, Scores
from dpr.settings import Bm25Settings

BLOCK = 64  # queries that a process embeds together

# (queries, {query id: ids of its positives}) -> a run with the best passages of each query and, if
# the ranker scores them, its positives. Only the first process gets the run.
Ranker = Callable[[list[Query], dict[str, list[str]]], Scores]


def bm25_ranker(
    index: Path,
    settings: Bm25Settings,
    depth: int,
    threads: int,
    heap: float,
    documents: bool = False,
) -> Ranker:
    """BM25 over an index of the corpus.

    Args:
        depth: of the run, in passages.
        documents: whether `depth` counts documents that are cut into the passages.
    """

    def rank(queries: list[Query], positives: dict[str, list[str]]) -> Scores:
        if not is_first_process():
            return {}
        arguments = (index, queries, settings.k1, settings.b, depth, threads, heap)
        if documents:
            return dict(lucene.search_documents(*arguments, every=True))
        return dict(lucene.search(*arguments))

    return rank


def encoder_ranker(
    embedder: Embedder,
    embeddings: Embeddings,
    depth: int,
    prompts: Sequence[str] | None,
    resources: Resources = LOCAL,
    documents: bool = False,
) -> Ranker:
    """Exact search over the encoder's embeddings, shared by all processes; see `bm25_ranker`."""
    similarity, processes = embedder.similarity, resources.processes
    row_of = IdRows(digests(embeddings.ids)) if processes.is_first else None

    def rank(queries: list[Query], positives: dict[str, list[str]]) -> Scores:
        query_ids = [query.id for query in queries]
        tokens = tokenize_queries(embedder.tokenizer, queries, prompts)
        (vectors,) = processes.in_blocks(
            len(tokens), BLOCK, lambda block: (embedder.embed(tokens[block], "query"),)
        )
        embedder.require_finite(vectors, queries)

        def search(topics: list[int], depth: int) -> Run:
            scores, rows = exact_search(embeddings, vectors[topics], depth, resources=resources)
            return as_run([query_ids[t] for t in topics], scores, rows, embeddings.ids)

        if documents:
            found = search_documents(search, query_ids, depth, len(embeddings.ids), every=True)
        else:
            found = search(list(range(len(queries))), depth)
        if row_of is None:
            return {}
        run = dict(found)
        for query_id, vector in zip(query_ids, vectors, strict=True):
            ids = positives[query_id]
            passages = embeddings.take(row_of.of(digests(ids)))
            own = similarity.scores(torch.from_numpy(vector[None]), torch.from_numpy(passages))
            run[query_id] = dict(zip(ids, own[0].tolist(), strict=True)) | run[query_id]
        return run

    return rank


def ranked(scores: dict[str, float], depth: int) -> list[str]:
    """The ids of the best `depth` passages, best first, equal scores by id."""
    return sorted(scores, key=lambda p: (-scores[p], p))[:depth]
