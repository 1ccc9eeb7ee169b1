"""The rankers that hard negatives and a teacher's passages are taken from: BM25, and an encoder."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from dpr.bm25 import lucene
from dpr.embeddings.artifact import Embeddings
from dpr.encoders.embedder import Embedder
from dpr.encoders.prompts import tokenize_queries
from dpr.indexes.exact_search import as_run, exact_search
from dpr.records.corpus import Corpus
from dpr.records.types import Query, Scores
from dpr.settings import Bm25Settings

# (queries, {query id: ids of its positives}) -> a run with the best passages of each query and,
# if the ranker scores them, its positives.
Ranker = Callable[[list[Query], dict[str, list[str]]], Scores]


def bm25_ranker(
    corpus: Corpus, folder: Path, settings: Bm25Settings, depth: int, threads: int
) -> Ranker:
    """BM25 over the corpus, with an index that is built in `folder` now."""
    lucene.build_index(corpus.texts(), folder)

    def rank(queries: list[Query], positives: dict[str, list[str]]) -> Scores:
        return dict(lucene.search(folder, queries, settings.k1, settings.b, depth, threads))

    return rank


def encoder_ranker(
    embedder: Embedder, embeddings: Embeddings, depth: int, prompts: Sequence[str] | None
) -> Ranker:
    """Exact search over the embeddings that the encoder made."""
    similarity = embedder.similarity
    row_of = {passage_id: row for row, passage_id in enumerate(embeddings.ids)}

    def rank(queries: list[Query], positives: dict[str, list[str]]) -> Scores:
        vectors = embedder.embed(tokenize_queries(embedder.tokenizer, queries, prompts), "query")
        best = exact_search(embeddings, vectors, depth)
        found = dict(as_run([query.id for query in queries], *best, embeddings.ids))
        for query, vector in zip(queries, vectors, strict=True):
            ids = positives[query.id]
            rows = np.asarray(embeddings.vectors[[row_of[p] for p in ids]], dtype=np.float32)
            own = similarity.scores(torch.from_numpy(vector[None]), torch.from_numpy(rows))
            found[query.id] = dict(zip(ids, own[0].tolist(), strict=True)) | found[query.id]
        return found

    return rank
