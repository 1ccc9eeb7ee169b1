"""What a number format moves: its vectors and its ranking beside those of fp32, on a sample.

The whole collection in fp32 would take longer than all else. The sample is a pool of passages, half
of them relevant to the topics that it is ranked for; nDCG@10 over it is higher than over the
collection. docs/speed.md compares whole collections.
"""

from typing import Any

import numpy as np
import torch

from dpr import measures
from dpr.embeddings.artifact import Embeddings
from dpr.encoders.embedder import Embedder
from dpr.records.corpus import Corpus
from dpr.records.pool import draw_pool, sample_topics
from dpr.records.types import Qrels, Query

TOPICS, PASSAGES = 25, 50


def precision_cost(
    embedder: Embedder,
    embeddings: Embeddings,
    corpus: Corpus,
    queries: dict[str, Query],
    qrels: Qrels,
) -> dict[str, Any]:
    """The format in use, its cosines to fp32, and the nDCG@10 that it loses over the pool.

    Args:
        embedder: it embeds the queries, and made `embeddings`.
    """
    exact = embedder.in_fp32()
    relevant = {passage_id for grades in qrels.values() for passage_id in grades}
    known = {passage_id for passage_id in embeddings.ids if passage_id in relevant}
    judged = {q: {p: g for p, g in grades.items() if p in known} for q, grades in qrels.items()}
    judged = sample_topics(judged, TOPICS)
    ids = draw_pool(judged, embeddings.ids, PASSAGES)
    inside = set(ids)
    rows = np.array([row for row, passage_id in enumerate(embeddings.ids) if passage_id in inside])
    texts = [text for _, text in corpus.texts(set(rows.tolist()).__contains__)]
    ours, theirs = embeddings.sample(rows), exact.embed_texts(texts, "passage")
    asked = [queries[query_id].text for query_id in judged]
    cosines = torch.cosine_similarity(torch.from_numpy(ours), torch.from_numpy(theirs)).numpy()

    def headline(asking: Embedder, passages: np.ndarray) -> float:
        vectors = torch.from_numpy(asking.embed_texts(asked, "query"))
        scores = asking.similarity.scores(vectors, torch.from_numpy(passages)).tolist()
        run = {q: dict(zip(ids, row, strict=True)) for q, row in zip(judged, scores, strict=True)}
        return measures.headline(judged, run)

    return {
        "format": embedder.format,
        "cosine_to_fp32": {"least": float(cosines.min()), "mean": float(cosines.mean())},
        f"pool_{measures.HEADLINE}_lost": headline(exact, theirs) - headline(embedder, ours),
    }
