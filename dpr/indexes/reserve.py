"""Memory for an index before it is filled: one that grows is for a moment in memory twice."""

from collections.abc import Callable, Iterator
from typing import Any

import faiss
import numpy as np


def reserve(index: faiss.Index, count: int, chunks: Callable[[], Iterator[np.ndarray]]) -> None:
    """Take the memory of `count` vectors, in an index that is still empty.

    Args:
        chunks: the vectors; read once for kinds with cells, whose sizes depend on them.
    """
    if hasattr(index, "hnsw"):
        links = index.hnsw.cum_nb_neighbors(1)  # of a vector on the lowest level: 2 M
        # One vector in M is on the second level too, one in M^2 on the third, with M links on each.
        _resize(index.hnsw.neighbors, int(count * links * (1.01 + 0.6 / (links / 2 - 1))))
        index = faiss.downcast_index(index.storage)
    if hasattr(index, "codes"):
        _resize(index.codes, count * index.sa_code_size())
    if isinstance(index, faiss.IndexIVF):
        lists = faiss.downcast_InvertedLists(index.invlists)
        quantizer, sizes = index.quantizer, np.zeros(index.nlist, dtype=np.int64)
        for chunk in chunks():
            sizes += np.bincount(quantizer.assign(chunk, 1).ravel(), minlength=index.nlist)
        for cell, size in enumerate(sizes.tolist()):
            lists.resize(cell, size)
            lists.resize(cell, 0)


def _resize(vector: Any, size: int) -> None:
    # A C++ vector that is resized to nothing keeps its memory.
    vector.resize(size)
    vector.resize(0)
