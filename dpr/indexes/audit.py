"""What an index misses: its passages beside those of exact search, for the same topics."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import faiss
import numpy as np

from dpr import measures
from dpr.base.errors import InputError
from dpr.indexes import wrappers
from dpr.indexes.exact_search import as_run, exact_search
from dpr.indexes.index import Index
from dpr.records.types import Qrels, Query
from dpr.runs.depth import finish, search_depth
from dpr.settings import SearchSettings

DEPTHS = (10, 100, 1000)
# The settings of the trade-off curve.
NPROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
EF_SEARCHES = (10, 16, 32, 64, 128, 256, 512)
ADVICE = {  # kind -> what to raise for a better recall
    "ivf": "search.nprobe",
    "ivfpq": "index.pq_bytes and search.nprobe, or set search.rescore",
    "hnsw": "search.ef_search, index.hnsw_m or index.ef_construction",
    "pq": "index.pq_bytes, or set search.rescore",
    "sq8": "the precision: set search.rescore, or index.kind flat with encode.dtype float16",
    "lsh": "index.lsh_bits, or set search.rescore",
}


class Audit(NamedTuple):
    """What one index misses, and how fast it was."""

    metrics: dict[str, Any]
    tradeoff: list[tuple[str, int, float]]  # (setting of the search, its value, its recall@10)
    queries_per_second: tuple[float, float]  # index, exact search; to print, never to a file


def audit(
    index: Index,
    queries: list[Query],
    vectors: np.ndarray,
    qrels: Qrels,
    settings: SearchSettings,
) -> Audit:
    """Compare an index with exact search over its own embeddings, at the depth of a run.

    Args:
        vectors: (Q, D) float32, of the queries.
    """
    embeddings = index.embeddings
    by_id = {query.id: query for query in queries}
    depth = search_depth(settings.top_k, by_id)
    searched = max(depth, DEPTHS[0])
    started = time.perf_counter()
    exact_scores, exact = exact_search(
        embeddings, vectors, searched, index.truncates_to, index.resources
    )
    between = time.perf_counter()
    chosen = settings.nprobe, settings.ef_search
    scores, rows = exact_scores, exact
    if index.faiss_index is not None:
        scores, rows = index.search(vectors, searched, *chosen, settings.rescore)
        seconds = (time.perf_counter() - between, between - started)
    else:
        seconds = (between - started, between - started)

    def headline(scores: np.ndarray, rows: np.ndarray) -> float:
        run = as_run(list(by_id), scores[:, :depth], rows[:, :depth], embeddings.ids)
        return measures.headline(qrels, finish(run, settings.top_k, by_id))

    depths = [k for k in DEPTHS if k <= depth] or [depth]
    metrics = {
        "kind": index.manifest["kind"],
        "bytes_per_vector": round(index.size / len(embeddings.vectors), 2),
        f"{measures.HEADLINE}_lost": headline(exact_scores, exact) - headline(scores, rows),
        **{f"recall@{k}": recall(rows, exact, k) for k in depths},
    }
    if settings.rescore and index.faiss_index is not None:
        plain = index.search(vectors, depth, *chosen)[1]
        metrics["without_rescoring"] = {f"recall@{k}": recall(plain, exact, k) for k in depths}
    tradeoff = [
        (name, value, recall(found, exact, DEPTHS[0]))
        for name, value, found in _by_setting(index, vectors, settings.rescore)
    ] or [("none", 1, recall(rows, exact, DEPTHS[0]))]
    speeds = (len(vectors) / seconds[0], len(vectors) / seconds[1])
    return Audit(metrics, tradeoff, speeds)


def recall(rows: np.ndarray, exact: np.ndarray, k: int) -> float:
    """The share of the exact top k (fewer in a small corpus) that the index's top k contains.

    Rows are compared, not scores: a passage with an equal vector does not count.
    """
    found = [
        len(set(ours[:k].tolist()) & set(theirs[:k].tolist())) / len(theirs[:k])
        for ours, theirs in zip(rows, exact, strict=True)
    ]
    return float(np.mean(found))


def require_recall(metrics: dict[str, Any], minimum: float, where: object) -> None:
    """Raises InputError for an index that misses more than `audit.min_recall` allows."""
    first = next(name for name in metrics if name.startswith("recall@"))
    if metrics[first] < minimum:
        advice = ADVICE.get(metrics["kind"], "what the factory string stores or search.nprobe")
        raise InputError(
            f"{where}: {first} against exact search is {metrics[first]:.4f}, below "
            f"audit.min_recall {minimum}: raise {advice}, take another index.kind, or lower "
            "audit.min_recall"
        )


def _by_setting(
    index: Index, vectors: np.ndarray, rescore: int | None
) -> Iterator[tuple[str, int, np.ndarray]]:
    """(setting, value, first ten rows) for some values; nothing for a kind without a setting."""
    inner = wrappers.inner(index.faiss_index) if index.faiss_index is not None else None
    if isinstance(inner, faiss.IndexIVF):
        for nprobe in NPROBES:
            if nprobe <= inner.nlist:
                found = index.search(vectors, DEPTHS[0], nprobe=nprobe, rescore=rescore)
                yield "nprobe", nprobe, found[1]
    elif hasattr(inner, "hnsw"):
        for ef in EF_SEARCHES:
            if ef >= (rescore or 0):
                found = index.search(vectors, DEPTHS[0], ef=ef, rescore=rescore)
                yield "ef_search", ef, found[1]
