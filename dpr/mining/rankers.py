"""The rankers that hard negatives and a teacher's passages are taken from: BM25, and an encoder."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from dpr.base.environment import started_first
from dpr.bm25 import lucene
from dpr.embeddings.artifact import Embeddings
from dpr.embeddings.queries import require_finite
from dpr.encoders.embedder import Embedder
from dpr.encoders.tokens import tokenize_queries
from dpr.indexes.exact_search import LOCAL, Resources, as_run, exact_search
from dpr.records.corpus import Corpus
from dpr.records.ids import IdRows, digests
from dpr.records.types import Query, Scores
from dpr.settings import Bm25Settings

BLOCK = 64  # queries that a process embeds together

# (queries, {query id: ids of its positives}) -> a run with the best passages of each query and,
# if the ranker scores them, its positives. Of several processes the first has it, others nothing.
Ranker = Callable[[list[Query], dict[str, list[str]]], Scores]


def bm25_ranker(
    corpus: Corpus, folder: Path, settings: Bm25Settings, depth: int, threads: int, heap: float
) -> Ranker:
    """BM25 over the corpus, with an index that is built in `folder` now, in the first process."""
    if started_first():
        lucene.build_index(corpus.texts(), folder, heap=heap)

    def rank(queries: list[Query], positives: dict[str, list[str]]) -> Scores:
        if not started_first():
            return {}
        found = lucene.search(folder, queries, settings.k1, settings.b, depth, threads, heap)
        return dict(found)

    return rank


def encoder_ranker(
    embedder: Embedder,
    embeddings: Embeddings,
    depth: int,
    prompts: Sequence[str] | None,
    resources: Resources = LOCAL,
) -> Ranker:
    """Exact search over the embeddings that the encoder made, shared by all processes."""
    similarity, processes = embedder.similarity, resources.processes
    row_of = IdRows(digests(embeddings.ids)) if processes.is_first else None

    def rank(queries: list[Query], positives: dict[str, list[str]]) -> Scores:
        tokens = tokenize_queries(embedder.tokenizer, queries, prompts)
        (vectors,) = processes.in_blocks(
            len(tokens), BLOCK, lambda some: (embedder.embed(tokens[some], "query"),)
        )
        require_finite(vectors, [query.id for query in queries], embedder.folder)
        best = exact_search(embeddings, vectors, depth, resources=resources)
        if row_of is None:
            return {}
        found = dict(as_run([query.id for query in queries], *best, embeddings.ids))
        for query, vector in zip(queries, vectors, strict=True):
            ids = positives[query.id]
            rows = embeddings.take(row_of.of(digests(ids)))
            own = similarity.scores(torch.from_numpy(vector[None]), torch.from_numpy(rows))
            found[query.id] = dict(zip(ids, own[0].tolist(), strict=True)) | found[query.id]
        return found

    return rank
