"""Exact search over embeddings, chunk by chunk: for kind flat, for mining and for audits.

`search.memory` bounds the memory. The result is extra: 12 bytes per query and passage.

The last bits of a matrix product depend on its shape, because BLAS has separate kernels for edges.
So a CPU multiplies tiles of one fixed shape, starting at the first query and the first passage.
Then a score depends neither on the memory nor on the number of processes.

Equal scores rank by passage id, descending, as in trec_eval. The id also decides which
passages stay if several tie for the last place. This holds for every kind of index, chunk size and
number of processes.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow
import torch
from torch.nn import functional

from dpr.base.errors import InputError
from dpr.base.processes import SINGLE, ProcessGroup
from dpr.base.progress import progress
from dpr.embeddings.artifact import Embeddings
from dpr.records.run import Run
from dpr.similarity import SIMILARITIES, Similarity

TILE = (256, 1_536)  # queries and passages
EDGE = 192  # the last tile is padded to a multiple of this, so equal vectors get equal scores
GATHERED = 1_024  # queries per exchange of results between processes


class Resources(NamedTuple):
    """The memory of a search in GiB per process, and the processes that share the work."""

    memory: float = 1.0
    processes: ProcessGroup = SINGLE


LOCAL = Resources()


def exact_search(
    embeddings: Embeddings,
    queries: np.ndarray,
    top_k: int,
    dimension: int | None = None,
    resources: Resources = LOCAL,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and row numbers of the best passages: (Q, K) float32 and int64, see `cut`.

    Each process scores some of the chunks. All return the same bytes as a single process.

    Args:
        queries: (Q, D) float32.
        dimension: the number of leading components to compare; None: all.
    Raises:
        InputError: if the smallest chunk does not fit into `memory`.
    """
    memory, processes = resources
    similarity, ids = SIMILARITIES[embeddings.manifest["similarity"]], embeddings.ids
    queries = similarity.truncate(queries, dimension)
    count = len(embeddings.vectors)
    top_k = min(top_k, count)
    size = rows_at_once(embeddings.dimension, embeddings.vectors.strides[0], memory)
    starts = range(0, count, size)[processes.rank :: processes.size]
    size = min(size, count)
    scores = np.full((len(queries), top_k), -np.inf, dtype=np.float32)
    rows = np.full((len(queries), top_k), -1, dtype=np.int64)
    queries_at_once = min(_queries_at_once(size, memory), max(1, len(queries)))
    # Allocated once: otherwise the heap grows whenever a large array fits into no gap.
    buffer = torch.empty(queries_at_once * size, device=processes.device)
    for start, chunk in _chunks(embeddings, starts, size):
        passages = torch.from_numpy(similarity.truncate(chunk, dimension)).to(processes.device)
        for block in _blocks(len(queries), queries_at_once):
            asked = torch.from_numpy(queries[block]).to(processes.device)
            scored = buffer[: len(asked) * len(passages)].view(len(asked), len(passages))
            _fill(scored, similarity, asked, passages)
            best_scores, best_rows = _best(scored, top_k, ids, start)
            both = np.hstack([scores[block], best_scores]), np.hstack([rows[block], best_rows])
            scores[block], rows[block] = cut(*both, top_k, ids)
    if processes.size > 1:
        for block in _blocks(len(queries), GATHERED):
            gathered = _gather(scores[block], processes), _gather(rows[block], processes)
            scores[block], rows[block] = cut(*gathered, top_k, ids)
    return scores, rows


def cut(
    scores: np.ndarray, rows: np.ndarray, top_k: int, ids: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The first `top_k` by score, then by id descending: (Q, K) float32 and int64.

    In the result, equal scores are in row order.

    Args:
        scores: (Q, C) float32, including every passage that ties with the last place.
        rows: (Q, C) int64, distinct for each query; -1, with a score of -infinity, is padding.
        ids: passage ids by row; only the ids of tied rows are read.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, rows = (np.take_along_axis(part, order, 1) for part in (scores, rows))
    for query in np.flatnonzero(is_open(scores, top_k)):
        tied = np.flatnonzero(scores[query] == scores[query, top_k - 1])
        rows[query, tied[0] : top_k] = _last_ids(rows[query, tied], top_k - tied[0], ids)
    scores, rows = scores[:, :top_k], rows[:, :top_k]
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def is_open(ranked: np.ndarray, top_k: int) -> np.ndarray:
    """(Q, C) scores, best first -> (Q,) bool: whether a tie extends beyond the last place."""
    if ranked.shape[1] <= top_k:
        return np.zeros(len(ranked), bool)
    last = ranked[:, top_k - 1]
    return (last == ranked[:, top_k]) & np.isfinite(last)


def as_run(query_ids: list[str], scores: np.ndarray, rows: np.ndarray, ids: Sequence[str]) -> Run:
    """(Q, K) scores and row numbers -> a run, without the padding rows (-1)."""
    real = rows >= 0
    topics = np.repeat(np.arange(len(query_ids)), real.sum(axis=1))
    distinct, passages = np.unique(rows[real], return_inverse=True)
    names = pyarrow.array([ids[row] for row in distinct.tolist()], pyarrow.string())
    return Run.of_rows(query_ids, topics, names, passages, scores[real])


def rows_at_once(dimension: int, stored: int, memory: float) -> int:
    """The number of vectors that fit into three quarters of the memory, in whole tiles.

    The other quarter holds the scores, at least for one tile of queries.

    Args:
        stored: bytes per vector in the file.
        memory: GiB.
    Raises:
        InputError: if the smallest chunk does not fit into `memory`.
    """
    # In float32: the current chunk, its truncated copy, the previous chunk and the next one.
    bytes_each = (4 * 4 * dimension + stored) / 0.75
    bytes_each = max(bytes_each, 4 * 4 * TILE[0])
    rows = int(memory * 2**30 / bytes_each)
    if rows < TILE[1]:
        least = math.ceil(TILE[1] * bytes_each / 2**30 * 10_000) / 10_000
        raise InputError(
            f"params.yaml: search.memory: {memory} GiB hold {rows} vectors of {dimension} "
            f"dimensions at a time; give {least} or more"
        )
    return rows - rows % TILE[1]


def _queries_at_once(passages: int, memory: float) -> int:
    """Queries per block, in whole tiles: their scores fit into a quarter of the memory."""
    queries = int(memory * 2**30 / 4) // (4 * passages)
    return max(1, queries // TILE[0]) * TILE[0]


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def _chunks(embeddings: Embeddings, starts: range, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, vectors) of each chunk, valid until the next chunk; a thread reads ahead."""
    shown = bool(starts[1:]) and starts[0] == 0  # the first process shows its share
    bar = progress(total=len(starts), unit="chunks", shown=shown)
    stored = embeddings.vectors
    raw = np.empty_like(stored, shape=(size, *stored.shape[1:]), subok=False)
    buffers = [np.empty((size, embeddings.dimension), np.float32) for _ in starts[:2]]

    def read(number: int) -> np.ndarray:
        start = starts[number]
        count = min(size, len(stored) - start)
        return embeddings.fill(buffers[number % 2][:count], raw[:count], start)

    with ThreadPoolExecutor(1) as thread, bar:
        ahead = [thread.submit(read, 0)] if starts else []
        for number, start in enumerate(starts):
            chunk = ahead.pop().result()
            if starts[number + 1 :]:
                ahead = [thread.submit(read, number + 1)]
            yield start, chunk
            bar.update()


def _fill(
    scores: torch.Tensor, similarity: Similarity, queries: torch.Tensor, passages: torch.Tensor
) -> None:
    """Write the (Q, P) scores. A GPU is fast at any shape, so it computes them as one tile."""
    tile = TILE if scores.device.type == "cpu" else scores.shape
    for rows in _blocks(len(queries), tile[0]):
        for columns in _blocks(len(passages), tile[1]):
            compared, count = passages[columns], len(passages[columns])
            if count % EDGE:  # `pad` copies even if there is nothing to add
                compared = functional.pad(compared, (0, 0, 0, -count % EDGE))
            scores[rows, columns] = similarity.scores(queries[rows], compared)[:, :count]


def _best(
    scores: torch.Tensor, top_k: int, ids: Sequence[str], start: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows of the best passages in the chunk that begins at row `start`."""
    count = scores.shape[1]
    top_k = min(top_k, count)
    top = scores.topk(min(top_k + 1, count))  # one more reveals a tie with the last place
    values, rows = top.values.cpu().numpy(), top.indices.cpu().numpy() + start
    for query in np.flatnonzero(is_open(values, top_k)):
        last = values[query, top_k - 1]
        first_tied = int((values[query] > last).sum())
        tied = torch.nonzero(scores[query] == last.item()).squeeze(1).cpu().numpy() + start
        rows[query, first_tied:top_k] = _last_ids(tied, top_k - first_tied, ids)
    return values[:, :top_k], rows[:, :top_k]


def _last_ids(rows: np.ndarray, count: int, ids: Sequence[str]) -> list[int]:
    """The `count` rows with the largest ids, in descending order."""
    return heapq.nlargest(count, rows.tolist(), key=ids.__getitem__)


def _gather(own: np.ndarray, processes: ProcessGroup) -> np.ndarray:
    """(Q, K) of each process -> (Q, processes * K), side by side."""
    gathered = processes.gather_array(own, len(own) * processes.size)
    by_process = gathered.reshape(processes.size, *own.shape)
    return by_process.transpose(1, 0, 2).reshape(len(own), -1)
