"""The best passages of each query, whatever order they were compared in.

Equal scores are in the order that trec_eval gives them, by id, descending. So a passage that is
tied with the last place is kept or left out by its id, for each kind of index, size of chunk and
number of processes.


Exact search of embeddings, a chunk at a time: for kind flat, mining and the audit of others.

`search.memory` bounds it, but for the result: 12 bytes for each query and passage found.

The last bits of a product depend on its shape, since a BLAS has other kernels for what is left at
its edges. So on a CPU all products are of the same tiles, cut from the first query and the first
passage on. Then a score depends neither on the memory nor on the number of processes.
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


def cut(
    scores: np.ndarray, rows: np.ndarray, top_k: int, ids: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The first `top_k` by score, then by id: (Q, K) float32 and int64, equal scores by row.

    Args:
        scores: (Q, C) float32; all that is tied with the last place must be among them.
        rows: (Q, C) int64, different ones in a row; -1 for nothing, with a score of -infinity.
        ids: of all rows of the corpus. Only those of tied rows are read.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, rows = (np.take_along_axis(part, order, 1) for part in (scores, rows))
    for query in np.flatnonzero(is_open(scores, top_k)):
        tied = np.flatnonzero(scores[query] == scores[query, top_k - 1])
        kept = last_ids(rows[query, tied], top_k - tied[0], ids)
        rows[query, tied[0] : top_k] = kept
    scores, rows = scores[:, :top_k], rows[:, :top_k]
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def is_open(ranked: np.ndarray, top_k: int) -> np.ndarray:
    """(Q, C) scores, the best first -> (Q,) bool: whether a tie goes beyond the last place."""
    if ranked.shape[1] <= top_k:
        return np.zeros(len(ranked), bool)
    last = ranked[:, top_k - 1]
    return (last == ranked[:, top_k]) & np.isfinite(last)


def last_ids(rows: np.ndarray, count: int, ids: Sequence[str]) -> list[int]:
    """So many of the rows, those whose ids come last."""
    return heapq.nlargest(count, rows.tolist(), key=ids.__getitem__)


TILE = (256, 1_536)  # queries and passages
EDGE = 192  # the last tile of passages is padded to a multiple: so equal vectors have equal scores
GATHERED = 1_024  # queries whose results processes exchange at a time


class Resources(NamedTuple):
    """What a search has: GiB of memory in each process, and the processes that share it."""

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
    """Scores and row numbers of the best passages: (Q, K) float32 and int64.

    The best first, equal scores by row; of those that are tied with the last place, the last ids
    (`cut`). Each process compares some chunks, and all return what one would, to the
    byte.

    Args:
        queries: (Q, D) float32.
        dimension: compare only the first components of all vectors; None: all.
    """
    memory, processes = resources
    similarity = SIMILARITIES[embeddings.manifest["similarity"]]
    queries = similarity.truncate(queries, dimension)
    count = len(embeddings.vectors)
    top_k = min(top_k, count)
    size = rows_at_once(embeddings.dimension, embeddings.vectors.strides[0], memory)
    starts = range(0, count, size)[processes.rank :: processes.size]
    scores = np.full((len(queries), top_k), -np.inf, dtype=np.float32)
    rows = np.full((len(queries), top_k), -1, dtype=np.int64)
    at_once = min(_queries_at_once(min(size, count), memory), max(1, len(queries)))
    ids = embeddings.ids
    # All large arrays are allocated once: the heap would grow by each that does not fit in a gap.
    scored = torch.empty(at_once * min(size, count), device=processes.device)
    for start, chunk in _chunks(embeddings, starts, size):
        passages = torch.from_numpy(similarity.truncate(chunk, dimension)).to(processes.device)
        for some in _blocks(len(queries), at_once):
            found = _search(similarity, queries[some], passages, top_k, scored, start, ids)
            both = np.hstack([scores[some], found[0]]), np.hstack([rows[some], found[1]])
            scores[some], rows[some] = cut(*both, top_k, ids)
    if processes.size > 1:
        for some in _blocks(len(queries), GATHERED):
            of_all = _of_all(scores[some], processes), _of_all(rows[some], processes)
            scores[some], rows[some] = cut(*of_all, top_k, ids)
    return scores, rows


def rows_at_once(dimension: int, stored: int, memory: float) -> int:
    """How many vectors fit into three quarters of the memory; the scores have the last one.

    They are whole tiles, and a tile of queries fits in beside them.

    Args:
        stored: bytes of a vector in its file.
    Raises:
        InputError: for less memory than a small chunk needs.
    """
    # In float32 the chunk that is compared, the same truncated, the one before and the next.
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


def _chunks(embeddings: Embeddings, starts: range, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, vectors) of each chunk, until the next is asked for; it is read in a thread."""
    shown = bool(starts[1:]) and starts[0] == 0  # of several processes the first shows its share
    bar = progress(total=len(starts), unit="chunks", shown=shown)
    stored, size = embeddings.vectors, min(size, len(embeddings.vectors))
    raw = np.empty_like(stored, shape=(size, *stored.shape[1:]), subok=False)
    two = [np.empty((size, embeddings.dimension), np.float32) for _ in starts[:2]]

    def read(number: int) -> np.ndarray:
        start = starts[number]
        count = min(size, len(stored) - start)
        return embeddings.fill(two[number % 2][:count], raw[:count], start)

    with ThreadPoolExecutor(1) as thread, bar:
        ahead = [thread.submit(read, 0)] if starts else []
        for number, start in enumerate(starts):
            chunk = ahead.pop().result()
            if starts[number + 1 :]:
                ahead = [thread.submit(read, number + 1)]
            yield start, chunk
            bar.update()


def _queries_at_once(passages: int, memory: float) -> int:
    """How many queries' scores fit into a quarter of the memory: whole tiles, at least one."""
    queries = int(memory * 2**30 / 4) // (4 * passages)
    return max(1, queries // TILE[0]) * TILE[0]


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def _search(
    similarity: Similarity,
    queries: np.ndarray,
    passages: torch.Tensor,
    top_k: int,
    scored: torch.Tensor,
    start: int,
    ids: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows of the best of a chunk. (torch multiplies five times as fast as FAISS.)

    Args:
        scored: room for the scores.
        start: the row of the first passage.
    """
    asked = torch.from_numpy(queries).to(passages.device)
    scores = scored[: len(asked) * len(passages)].view(len(asked), len(passages))
    _fill(scores, similarity, asked, passages)
    top_k = min(top_k, len(passages))
    found = scores.topk(min(top_k + 1, len(passages)))  # one more shows a tie with the last place
    values, at = found.values.cpu().numpy(), found.indices.cpu().numpy()
    for query in np.flatnonzero(is_open(values, top_k)):
        last = values[query, top_k - 1]
        first_tied = int((values[query] > last).sum())
        tied = torch.nonzero(scores[query] == last.item()).squeeze(1).cpu().numpy() + start
        at[query, first_tied:top_k] = last_ids(tied, top_k - first_tied, ids)
        at[query, first_tied:top_k] -= start
    return values[:, :top_k], at[:, :top_k] + start


def _fill(
    scores: torch.Tensor, similarity: Similarity, queries: torch.Tensor, passages: torch.Tensor
) -> None:
    """(Q, P) scores; on a GPU, whose memory is quick at any shape, as a single tile."""
    tile = TILE if scores.device.type == "cpu" else scores.shape
    for some in _blocks(len(queries), tile[0]):
        for these in _blocks(len(passages), tile[1]):
            compared, count = passages[these], len(passages[these])
            if count % EDGE:  # else it would be copied
                compared = functional.pad(compared, (0, 0, 0, -count % EDGE))
            scores[some, these] = similarity.scores(queries[some], compared)[:, :count]


def _of_all(mine: np.ndarray, processes: ProcessGroup) -> np.ndarray:
    """(Q, K) of each process -> (Q, processes * K), side by side."""
    gathered = processes.gather_array(mine, len(mine) * processes.size)
    by_process = gathered.reshape(processes.size, *mine.shape)
    return by_process.transpose(1, 0, 2).reshape(len(mine), -1)


def as_run(query_ids: list[str], scores: np.ndarray, rows: np.ndarray, ids: Sequence[str]) -> Run:
    """(Q, K) scores and row numbers -> a run. FAISS pads with row -1, which is left out."""
    found = rows >= 0
    topics = np.repeat(np.arange(len(query_ids)), found.sum(axis=1))
    different, passages = np.unique(rows[found], return_inverse=True)
    names = pyarrow.array([ids[row] for row in different.tolist()], pyarrow.string())
    return Run.of_rows(query_ids, topics, names, passages, scores[found])
