"""Exact search of embeddings, a chunk at a time: for kind flat, mining and the audit of others.

`search.memory` bounds it, but for the result: 12 bytes for each query and passage found.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow
import torch

from dpr.base.errors import InputError
from dpr.base.processes import SINGLE, ProcessGroup
from dpr.base.progress import progress
from dpr.embeddings.artifact import Embeddings
from dpr.records.run import Run
from dpr.similarity import L1, SIMILARITIES, Similarity

LEAST = 1_024  # vectors compared at a time
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

    The best first, equal scores by row. (Which of several equal ones has the last place is left to
    torch.) Each process compares some chunks, and all return what one would, to the byte.

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
    at_once = _queries_at_once(similarity, min(size, count), memory)
    at_once = max(1, min(at_once, len(queries)))
    # All large arrays are allocated once: the heap would grow by each that does not fit in a gap.
    scored = torch.empty(at_once * min(size, count), device=processes.device)
    for start, chunk in _chunks(embeddings, starts, size):
        passages = torch.from_numpy(similarity.truncate(chunk, dimension)).to(processes.device)
        for some in _blocks(len(queries), at_once):
            new_scores, new_rows = _search(similarity, queries[some], passages, top_k, scored)
            both = np.hstack([scores[some], new_scores]), np.hstack([rows[some], new_rows + start])
            scores[some], rows[some] = _best(*both, top_k)
    if processes.size > 1:
        for some in _blocks(len(queries), GATHERED):
            of_all = [_of_all(part[some], processes) for part in (scores, rows)]
            scores[some], rows[some] = _best(of_all[0], of_all[1], top_k)
    return scores, rows


def rows_at_once(dimension: int, stored: int, memory: float) -> int:
    """How many vectors fit into three quarters of the memory; the scores have the last one.

    Args:
        stored: bytes of a vector in its file.
    Raises:
        InputError: for less memory than a small chunk needs.
    """
    # In float32 the chunk that is compared, the same truncated, the one before and the next.
    bytes_each = (4 * 4 * dimension + stored) / 0.75
    rows = int(memory * 2**30 / bytes_each)
    if rows < LEAST:
        least = math.ceil(LEAST * bytes_each / 2**30 * 10_000) / 10_000
        raise InputError(
            f"params.yaml: search.memory: {memory} GiB hold {rows} vectors of {dimension} "
            f"dimensions at a time; give {least} or more"
        )
    return rows


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


def _queries_at_once(similarity: Similarity, passages: int, memory: float) -> int:
    """How many queries' scores fit into a quarter of the memory."""
    copies = 2 if similarity.metric == L1 else 1
    return max(1, int(memory * 2**30 / 4) // (4 * copies * passages))


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def _search(
    similarity: Similarity,
    queries: np.ndarray,
    passages: torch.Tensor,
    top_k: int,
    scored: torch.Tensor,
) -> tuple[np.ndarray, np.ndarray]:
    """The best rows of a chunk. (torch multiplies five times as fast as FAISS with its BLAS.)"""
    into = scored[: len(queries) * len(passages)].view(len(queries), len(passages))
    scores = similarity.scores(torch.from_numpy(queries).to(passages.device), passages, into)
    found = scores.topk(min(top_k, len(passages)))
    return found.values.cpu().numpy(), found.indices.cpu().numpy()


def _best(scores: np.ndarray, rows: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `top_k` of each query, in order."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, 1)
    tied = (ranked[:, 1:] == ranked[:, :-1]).any(axis=1)
    order[tied] = np.lexsort((rows[tied], -scores[tied]), axis=1)
    order = order[:, :top_k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


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
