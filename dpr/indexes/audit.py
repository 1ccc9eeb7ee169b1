"""Recall and speed of an index, compared with exact search over the same topics."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import faiss
import numpy as np

from dpr import measures
from dpr.base.errors import InputError
from dpr.indexes import wrappers
from dpr.indexes.exact_search import as_run, exact_search
from dpr.indexes.index import Index
from dpr.records.documents import as_documents
from dpr.records.run import search_depth, without_own_passages
from dpr.records.types import Qrels, Query
from dpr.settings import SearchSettings

Ranked = tuple[np.ndarray, np.ndarray]  # (Q, K) scores and rows
DEPTHS = (10, 100, 1000)
# The points of the trade-off curve.
NPROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
EF_SEARCHES = (10, 16, 32, 64, 128, 256, 512)


class Audit(NamedTuple):
    """Recall and speed of an index."""

    metrics: dict[str, Any]
    tradeoff: list[tuple[str, int, float]]  # (setting of the search, its value, recall@10)
    queries_per_second: tuple[float, float]  # index, exact search; printed, never written


def audit(
    index: Index,
    queries: list[Query],
    vectors: np.ndarray,
    qrels: Qrels,
    settings: SearchSettings,
    documents: bool = False,
) -> Audit:
    """Compare an index with exact search over its own embeddings, at the depth of a run.

    Args:
        vectors: (Q, D) float32 query vectors.
        documents: whether the judgments are those of documents that are cut into passages.
    """
    embeddings, rescore = index.embeddings, settings.rescore
    by_id = {query.id: query for query in queries}
    depth = search_depth(settings.top_k, by_id)
    searched = max(depth, DEPTHS[0])

    def timed(run: Callable[[], Ranked]) -> tuple[Ranked, float]:
        started = time.perf_counter()
        ranked = run()
        return ranked, len(vectors) / (time.perf_counter() - started)

    def search(depth: int, rescore: int | None = None) -> Ranked:
        return index.search(vectors, depth, settings.nprobe, settings.ef_search, rescore)

    def mean_measure(ranked: Ranked) -> float:
        scores, rows = (part[:, :depth] for part in ranked)
        run = as_run(list(by_id), scores, rows, embeddings.ids)
        if documents:
            run = as_documents(run, depth)
        run = without_own_passages(run, settings.top_k, by_id)
        return measures.mean_primary_measure(qrels, run)

    exact, exact_speed = timed(
        lambda: exact_search(embeddings, vectors, searched, index.truncates_to, index.resources)
    )
    ranked, speed = exact, exact_speed
    if index.faiss_index is not None:
        ranked, speed = timed(lambda: search(searched, rescore))
    depths = [k for k in DEPTHS if k <= depth] or [depth]
    metrics = {
        "kind": index.manifest["kind"],
        "bytes_per_vector": round(index.size / len(embeddings.vectors), 2),
        f"{measures.PRIMARY_MEASURE}_lost": mean_measure(exact) - mean_measure(ranked),
        **{f"recall@{k}": recall(ranked[1], exact[1], k) for k in depths},
    }
    if rescore and index.faiss_index is not None:
        rows = search(depth)[1]
        metrics["without_rescoring"] = {f"recall@{k}": recall(rows, exact[1], k) for k in depths}
    tradeoff = [
        (setting, value, recall(rows, exact[1], DEPTHS[0]))
        for setting, value, rows in _by_setting(index, vectors, rescore)
    ] or [("none", 1, recall(ranked[1], exact[1], DEPTHS[0]))]
    return Audit(metrics, tradeoff, (speed, exact_speed))


def recall(rows: np.ndarray, exact: np.ndarray, k: int) -> float:
    """The mean share of the exact top k that is also in the index's top k.

    In a corpus of fewer than k passages, the top k are all passages. Rows are compared, not scores:
    a different passage with an equal vector is a miss.
    """
    shares = [
        len(set(row[:k].tolist()) & set(exact_row[:k].tolist())) / len(exact_row[:k])
        for row, exact_row in zip(rows, exact, strict=True)
    ]
    return float(np.mean(shares))


def require_recall(metrics: dict[str, Any], minimum: float, where: object) -> None:
    """Raises InputError if the recall of an index is below `audit.min_recall`."""
    first = next(name for name in metrics if name.startswith("recall@"))
    if metrics[first] < minimum:
        raise InputError(
            f"{where}: {first} of {metrics['kind']} against exact search is {metrics[first]:.4f}, "
            f"below audit.min_recall {minimum}: raise search.nprobe (kinds with cells), "
            "search.ef_search (hnsw), index.pq_bytes or index.lsh_bits; set search.rescore (kinds "
            "with codes); choose a different index.kind; or lower audit.min_recall"
        )


def _by_setting(
    index: Index, vectors: np.ndarray, rescore: int | None
) -> Iterator[tuple[str, int, np.ndarray]]:
    """(setting, value, top ten rows) for each value of nprobe or ef_search, if the kind has one."""
    inner = wrappers.inner(index.faiss_index) if index.faiss_index is not None else None
    if isinstance(inner, faiss.IndexIVF):
        for nprobe in NPROBES:
            if nprobe <= inner.nlist:
                rows = index.search(vectors, DEPTHS[0], nprobe=nprobe, rescore=rescore)[1]
                yield "nprobe", nprobe, rows
    elif hasattr(inner, "hnsw"):
        for ef in EF_SEARCHES:
            if ef >= (rescore or 0):
                yield "ef_search", ef, index.search(vectors, DEPTHS[0], ef=ef, rescore=rescore)[1]
