"""Exact search of embeddings, a chunk at a time: for kind flat, mining and the audit of others."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow
import torch
from tqdm import tqdm

from dpr.base.errors import InputError
from dpr.base.processes import SINGLE, ProcessGroup
from dpr.embeddings.artifact import Embeddings
from dpr.records.run import Run
from dpr.similarity import SIMILARITIES, Similarity

LEAST = 1_024  # vectors compared at a time


class Resources(NamedTuple):
    """What a search has: GiB of memory for vectors and scores, and the processes that share it."""

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
    starts = range(0, count, rows_at_once(embeddings, memory))[processes.rank :: processes.size]
    scores = np.full((len(queries), 0), 0, dtype=np.float32)
    rows = np.zeros((len(queries), 0), dtype=np.int64)
    for start, chunk in _chunks(embeddings, starts, rows_at_once(embeddings, memory)):
        found = _search(
            similarity, similarity.truncate(chunk, dimension), queries, top_k, resources
        )
        scores, rows = np.hstack([scores, found[0]]), np.hstack([rows, found[1] + start])
        scores, rows = _best(scores, rows, top_k)
    return _best(*_of_all(scores, rows, top_k, processes), top_k)


def rows_at_once(embeddings: Embeddings, memory: float) -> int:
    """How many vectors fit into three quarters of the memory; the scores have the last one.

    Raises:
        InputError: for less memory than a small chunk needs.
    """
    width, stored = embeddings.dimension, embeddings.vectors.strides[0]
    # In float32 the chunk that is compared, the one before and the next, and one as it is stored.
    bytes_each = (3 * 4 * width + stored) / 0.75
    rows = int(memory * 2**30 / bytes_each)
    if rows < LEAST:
        least = math.ceil(LEAST * bytes_each / 2**30 * 10_000) / 10_000
        raise InputError(
            f"params.yaml: search.memory: {memory} GiB hold {rows} vectors of {width} dimensions "
            f"at a time; give {least} or more"
        )
    return rows


def _chunks(embeddings: Embeddings, starts: range, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, vectors) of each chunk; the next one is read in a thread."""
    shown = bool(starts[1:]) and starts[0] == 0  # of several processes the first shows its share
    bar = tqdm(total=len(starts), unit=" chunks", disable=None if shown else True)
    with ThreadPoolExecutor(1) as thread, bar:
        ahead = [thread.submit(embeddings.read, start, start + size) for start in starts[:1]]
        for number, start in enumerate(starts):
            chunk = ahead.pop().result()
            ahead = [thread.submit(embeddings.read, s, s + size) for s in starts[number + 1 :][:1]]
            yield start, chunk
            bar.update()


def _search(
    similarity: Similarity,
    chunk: np.ndarray,
    queries: np.ndarray,
    top_k: int,
    resources: Resources,
) -> tuple[np.ndarray, np.ndarray]:
    """The best rows of a chunk. (torch multiplies five times as fast as FAISS with its BLAS.)"""
    device = resources.processes.device
    passages = torch.from_numpy(chunk).to(device)
    at_once = int(resources.memory * 2**30 / 4) // (4 * len(chunk))  # queries
    found = [
        similarity.scores(some.to(device), passages).topk(min(top_k, len(chunk)))
        for some in torch.from_numpy(queries).split(max(1, at_once))
    ]
    scores, rows = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
    return scores, rows


def _best(scores: np.ndarray, rows: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `top_k` of each query, in order."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, 1)
    tied = (ranked[:, 1:] == ranked[:, :-1]).any(axis=1)
    order[tied] = np.lexsort((rows[tied], -scores[tied]), axis=1)
    order = order[:, :top_k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def _of_all(
    scores: np.ndarray,
    rows: np.ndarray,
    top_k: int,
    processes: ProcessGroup,
) -> tuple[np.ndarray, np.ndarray]:
    """What all processes have found, side by side; a process with few chunks has fewer."""
    if processes.size == 1:
        return scores, rows
    count, lacking = len(scores), ((0, 0), (0, top_k - scores.shape[1]))
    padded = np.pad(scores, lacking, constant_values=-np.inf), np.pad(rows, lacking)
    gathered = [processes.gather_array(part, count * processes.size) for part in padded]
    ranks, columns = (processes.size, count, top_k), (count, processes.size * top_k)
    scores, rows = (p.reshape(ranks).transpose(1, 0, 2).reshape(columns) for p in gathered)
    return scores, rows


def as_run(query_ids: list[str], scores: np.ndarray, rows: np.ndarray, ids: Sequence[str]) -> Run:
    """(Q, K) scores and row numbers -> a run. FAISS pads with row -1, which is left out."""
    found = rows >= 0
    topics = np.repeat(np.arange(len(query_ids)), found.sum(axis=1))
    different, passages = np.unique(rows[found], return_inverse=True)
    names = pyarrow.array([ids[row] for row in different.tolist()], pyarrow.string())
    return Run.of_rows(query_ids, topics, names, passages, scores[found])
