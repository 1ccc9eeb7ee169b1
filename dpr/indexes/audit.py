"""What an index misses: its passages beside those of exact search, on the same topics."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np

from dpr import measures
from dpr.embeddings import Embeddings
from dpr.errors import InputError
from dpr.indexes.artifact import Index
from dpr.indexes.exact import as_run, exact_search

DEPTHS = (10, 100, 1000)
TRADEOFF_DEPTH = 100
RAISE = {
    "ivf": "search.nprobe",
    "ivfpq": "index.pq_bytes and search.nprobe",
    "hnsw": "search.ef_search, index.hnsw_m or index.ef_construction",
    "pq": "index.pq_bytes",
    "lsh": "index.lsh_bits",
}


class Audit(NamedTuple):
    """`metrics` of one index; `tradeoff`: setting, its value and the recalls that it gives.

    `queries_per_second`: of the index and of exact search here and now; for people, not for files.
    """

    metrics: dict[str, Any]
    tradeoff: list[tuple[str, int, float, float]]
    queries_per_second: tuple[float, float]


def audit(
    index: Index,
    embeddings: Embeddings,
    query_ids: list[str],
    vectors: np.ndarray,
    qrels: measures.Qrels,
    folder: Path,
    nprobe: int | None = None,
    ef: int | None = None,
) -> Audit:
    """Compare an index with exact search over the embeddings that it was built from.

    Args:
        vectors: (Q, D) float32, of the queries.
        folder: of the index; what its file weighs is counted.
    """
    depth = min(DEPTHS[-1], len(index.ids))
    dimension = index.manifest["dimension"]
    cut = dimension if dimension < index.manifest["vector_dimension"] else None
    started = time.perf_counter()
    exact_scores, exact = exact_search(embeddings, vectors, depth, cut)
    between = time.perf_counter()
    scores, rows = index.search(vectors, depth, nprobe, ef)
    seconds = (time.perf_counter() - between, between - started)

    ndcg = {
        name: measures.means(
            measures.by_topic(qrels, as_run(query_ids, *found, index.ids), ["nDCG@10"])
        )["nDCG@10"]
        for name, found in (("index", (scores, rows)), ("exact", (exact_scores, exact)))
    }
    metrics = {
        "kind": index.manifest["kind"],
        "bytes_per_vector": round((folder / "index.faiss").stat().st_size / len(index.ids), 2),
        "nDCG@10": ndcg["index"],
        "nDCG@10_lost": ndcg["exact"] - ndcg["index"],
        **{f"recall@{k}": recall(rows, exact, k) for k in DEPTHS},
    }
    tradeoff = [
        (name, value, recall(found, exact, 10), recall(found, exact, TRADEOFF_DEPTH))
        for name, value, found in _settings(index, vectors)
    ]
    return Audit(metrics, tradeoff, tuple(len(vectors) / s for s in seconds))


def recall(rows: np.ndarray, exact: np.ndarray, k: int) -> float:
    """The share of the exact first k, fewer in a small corpus, among the first k found."""
    found = [
        len(set(ours[:k].tolist()) & set(theirs[:k].tolist())) / len(theirs[:k])
        for ours, theirs in zip(rows, exact, strict=True)
    ]
    return float(np.mean(found))


def require(metrics: dict[str, Any], least: float, where: object) -> None:
    """Raises InputError for an index that misses more than `index.min_recall` allows."""
    if metrics["recall@10"] < least:
        advice = RAISE.get(metrics["kind"], "what the kind stores")
        raise InputError(
            f"{where}: recall@10 against exact search is {metrics['recall@10']:.4f}, below "
            f"index.min_recall {least}: raise {advice}, take another index.kind, or lower "
            "index.min_recall"
        )


def _settings(index: Index, vectors: np.ndarray) -> Iterator[tuple[str, int, np.ndarray]]:
    """Rows found by each of a few settings of the search; by the only one for most kinds."""
    inner = faiss.downcast_index(index.faiss_index)
    if isinstance(inner, faiss.IndexPreTransform):
        inner = faiss.downcast_index(inner.index)
    if isinstance(inner, faiss.IndexIVF):
        for nprobe in (1, 2, 4, 8, 16, 32, 64, 128, 256):
            if nprobe <= inner.nlist:
                yield "nprobe", nprobe, index.search(vectors, TRADEOFF_DEPTH, nprobe=nprobe)[1]
    elif hasattr(inner, "hnsw"):
        # FAISS walks with a list of at least the passages asked for.
        for ef in (TRADEOFF_DEPTH, 128, 192, 256, 512, 1024):
            yield "ef_search", ef, index.search(vectors, TRADEOFF_DEPTH, ef=ef)[1]
    else:
        yield "none", 1, index.search(vectors, TRADEOFF_DEPTH)[1]
