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
from dpr.indexes import layers
from dpr.indexes.artifact import Index
from dpr.indexes.exact import as_run, exact_search
from dpr.settings import SearchSettings
from dpr.trec import drop_query_ids

DEPTHS = (10, 100, 1000)
RAISE = {
    "ivf": "search.nprobe",
    "ivfpq": "index.pq_bytes and search.nprobe",
    "hnsw": "search.ef_search, index.hnsw_m or index.ef_construction",
    "pq": "index.pq_bytes",
    "sq8": "the bytes a dimension with index.kind flat and index.storage float16",
    "lsh": "index.lsh_bits",
}


class Audit(NamedTuple):
    """`metrics` of one index; `tradeoff`: a setting of the search, its value, its recall@10.

    `queries_per_second`: of the index and of exact search here and now; for people, not for files.
    """

    metrics: dict[str, Any]
    tradeoff: list[tuple[str, int, float]]
    queries_per_second: tuple[float, float]


def audit(
    index: Index,
    embeddings: Embeddings,
    query_ids: list[str],
    vectors: np.ndarray,
    qrels: measures.Qrels,
    folder: Path,
    settings: SearchSettings,
) -> Audit:
    """Compare an index with exact search over the embeddings that it was built from.

    The index is searched as for a run: as many passages, with the same settings.

    Args:
        vectors: (Q, D) float32, of the queries.
        folder: of the index; what its file weighs is counted.
    """
    top_k = settings.top_k + settings.drop_query_id
    dimension = index.manifest["dimension"]
    cut = dimension if dimension < index.manifest["vector_dimension"] else None
    started = time.perf_counter()
    exact_scores, exact = exact_search(embeddings, vectors, max(top_k, DEPTHS[0]), cut)
    between = time.perf_counter()
    scores, rows = index.search(vectors, top_k, settings.nprobe, settings.ef_search)
    seconds = (time.perf_counter() - between, between - started)

    def ndcg(scores: np.ndarray, rows: np.ndarray) -> float:
        run = as_run(query_ids, scores[:, :top_k], rows[:, :top_k], index.ids)
        if settings.drop_query_id:
            run = drop_query_ids(run, settings.top_k)
        return measures.means(measures.by_topic(qrels, run, ["nDCG@10"]))["nDCG@10"]

    depths = [depth for depth in DEPTHS if depth <= top_k] or [top_k]
    metrics = {
        "kind": index.manifest["kind"],
        "bytes_per_vector": round((folder / "index.faiss").stat().st_size / len(index.ids), 2),
        "nDCG@10_lost": ndcg(exact_scores, exact) - ndcg(scores, rows),
        **{f"recall@{depth}": recall(rows, exact, depth) for depth in depths},
    }
    tradeoff = [
        (*setting, recall(found, exact, DEPTHS[0])) for *setting, found in _settings(index, vectors)
    ]
    return Audit(metrics, tradeoff, tuple(len(vectors) / s for s in seconds))


def recall(rows: np.ndarray, exact: np.ndarray, k: int) -> float:
    """The share of the exact first k, fewer in a small corpus, among the first k found.

    By row: of passages with equal vectors at the end of the k, one counts and its copy does not.
    """
    found = [
        len(set(ours[:k].tolist()) & set(theirs[:k].tolist())) / len(theirs[:k])
        for ours, theirs in zip(rows, exact, strict=True)
    ]
    return float(np.mean(found))


def require(metrics: dict[str, Any], least: float, where: object) -> None:
    """Raises InputError for an index that misses more than `index.min_recall` allows."""
    first = next(name for name in metrics if name.startswith("recall@"))
    if metrics[first] < least:
        advice = RAISE.get(metrics["kind"], "what the factory string stores or search.nprobe")
        raise InputError(
            f"{where}: {first} against exact search is {metrics[first]:.4f}, below "
            f"index.min_recall {least}: raise {advice}, take another index.kind, or lower "
            "index.min_recall"
        )


def _settings(index: Index, vectors: np.ndarray) -> Iterator[tuple[str, int, np.ndarray]]:
    """The first ten rows found by each of a few settings; by the only one for most kinds."""
    inner = layers.inner(index.faiss_index)
    if isinstance(inner, faiss.IndexIVF):
        for nprobe in (1, 2, 4, 8, 16, 32, 64, 128, 256):
            if nprobe <= inner.nlist:
                yield "nprobe", nprobe, index.search(vectors, DEPTHS[0], nprobe=nprobe)[1]
    elif hasattr(inner, "hnsw"):
        for ef in (10, 16, 32, 64, 128, 256, 512):
            yield "ef_search", ef, index.search(vectors, DEPTHS[0], ef=ef)[1]
    else:
        yield "none", 1, index.search(vectors, DEPTHS[0])[1]
