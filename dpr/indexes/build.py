"""Building an index: trained on a sample drawn by seed, filled in chunks, reproducible bit by bit.

Memory: first the training sample, then the index and one chunk.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from dpr.base.errors import InputError
from dpr.base.files import sha256
from dpr.base.processes import SINGLE, ProcessGroup
from dpr.base.progress import progress
from dpr.embeddings.artifact import Embeddings
from dpr.indexes import kinds, wrappers
from dpr.indexes.kinds import Plan, plan
from dpr.indexes.wrappers import DotAsL2
from dpr.records.ids import IdHashes
from dpr.settings import IndexSettings
from dpr.similarity import SIMILARITIES

CHUNK = 16_384  # vectors read and added at a time
MIN_SAMPLE = 65_536  # vectors to train on; the bounds of sq8 need them too
SAMPLED_PER_CENTROID = 64  # FAISS advises 39 to 256


def build(
    embeddings: Embeddings,
    options: IndexSettings,
    seed: int,
    processes: ProcessGroup = SINGLE,
    work: Path | None = None,
) -> tuple[faiss.Index | None, float | None]:
    """An index over the vectors, for the similarity that the embeddings record.

    All processes fill an index with cells, each with a part of the rows, and the first merges the
    parts. It fills other indexes alone. The number of processes changes no byte, except in kinds of
    fast scan (PQ96x4fs), which still return the same passages.

    Args:
        work: a folder that all processes see; needed for several processes.
    Returns: the index, and the maximum norm if inner products were converted to distances. The
        index is None for kind flat, and in every process but the first.
    Raises:
        InputError: for an empty corpus, damaged vectors or ids, and settings that `plan` refuses.
    """
    count = len(embeddings.vectors)
    if not count:
        raise InputError("the embeddings hold no vectors: an empty corpus cannot be indexed")
    if processes.is_first:
        _check_files(embeddings)
    similarity = SIMILARITIES[embeddings.manifest["similarity"]]
    width = kinds.dimension(options, embeddings.dimension)
    chosen = plan(options, similarity, count, width)
    # A process takes whole chunks, and converts each as a single process would.
    own_chunks = processes.shard(-(-count // CHUNK))
    own = range(count)[own_chunks.start * CHUNK : own_chunks.stop * CHUNK]
    max_norm = processes.maximum(_checked_norm(embeddings, options.dimension, own))
    if processes.is_first:
        for note in chosen.notes:
            print(note, file=sys.stderr)
    if chosen.factory == kinds.FLAT:
        return None, None

    def converted(vectors: np.ndarray) -> np.ndarray:
        vectors = similarity.truncate(vectors, options.dimension)
        return DotAsL2(max_norm, chosen.width).passages(vectors) if chosen.as_l2 else vectors

    def fill(index: faiss.Index, rows: range) -> None:
        def chunks() -> Iterator[np.ndarray]:
            for start in progress(rows[::CHUNK], processes.is_first, unit="chunks"):
                yield converted(embeddings.read(start, min(start + CHUNK, rows.stop)))

        if wrappers.inner(index).d == chosen.width:  # no transform comes before it
            _reserve(wrappers.inner(index), len(rows), chunks)
        for chunk in chunks():
            index.add(chunk)

    threads = faiss.omp_get_max_threads()
    if "HNSW" in chosen.factory or "NSG" in chosen.factory:
        faiss.omp_set_num_threads(1)  # with more, the links depend on which thread is faster
    try:
        index = chosen.empty_index()
        _configure(wrappers.inner(index), options, seed)
        if processes.is_first and not index.is_trained:
            index.train(converted(embeddings.sample(_sample(count, chosen, options, seed))))
        if processes.size > 1 and wrappers.can_be_merged(index):
            assert work is not None, "several processes need a folder for their parts"
            index = _fill_together(index, own, fill, processes, work)
        elif processes.is_first:
            fill(index, range(count))
    except RuntimeError as error:
        raise kinds.cannot_build(options.kind, error) from None
    finally:
        faiss.omp_set_num_threads(threads)
    return index if processes.is_first else None, max_norm if chosen.as_l2 else None


def _check_files(embeddings: Embeddings) -> None:
    """Raises InputError if the vectors do not match their manifest, and for a duplicate id."""
    vectors = embeddings.vectors
    path = vectors.filename if isinstance(vectors, np.memmap) else None
    if path is not None and sha256(str(path)) != embeddings.manifest["sha256"]:
        raise InputError(f"{path}: damaged (its hash differs from the manifest's); encode again")
    seen = IdHashes()
    for passage_id in embeddings.ids:
        seen.add(passage_id)
    if len(duplicates := seen.duplicates()):
        twice = next(passage_id for passage_id in embeddings.ids if passage_id in duplicates)
        raise InputError(f"the embeddings hold the id {twice!r} twice; ids must be unique")


def _checked_norm(embeddings: Embeddings, dimension: int | None, rows: range) -> float:
    """The maximum norm of these rows.

    Raises:
        InputError: for a vector that is not finite, or has norm 0 where all should have norm 1.
    """
    max_norm, normalize = 0.0, SIMILARITIES[embeddings.manifest["similarity"]].normalize
    for start in rows[::CHUNK]:
        vectors = embeddings.read(start, min(start + CHUNK, rows.stop))[:, :dimension]
        norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
        wrong = ~np.isfinite(norms) | (normalize & (norms == 0))
        if wrong.any():
            first = int(wrong.argmax())
            problem = "NaN or infinity" if not np.isfinite(norms[first]) else "norm 0"
            raise InputError(
                f"the vector of passage {embeddings.ids[start + first]!r} has {problem}; encode "
                "again with an encoder that did not diverge"
            )
        max_norm = max(max_norm, float(norms.max()))
    return max_norm


def _sample(count: int, chosen: Plan, options: IndexSettings, seed: int) -> np.ndarray:
    """Row numbers to train on, ascending."""
    size = options.train_sample or max(MIN_SAMPLE, SAMPLED_PER_CENTROID * chosen.centroids)
    if size >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, size, replace=False))


def _configure(index: faiss.Index, options: IndexSettings, seed: int) -> None:
    """Set the seeds and construction parameters that this kind of index has."""
    parts: list[Any] = [index]
    if hasattr(index, "hnsw"):
        index.hnsw.efConstruction = options.ef_construction
        parts.append(faiss.downcast_index(index.storage))
    for part in [*parts, *(part.pq for part in parts if hasattr(part, "pq"))]:
        if hasattr(part, "do_polysemous_training"):
            part.do_polysemous_training = False  # takes seconds a byte, for a search nobody uses
        if hasattr(part, "cp"):
            part.cp.seed = seed % 2**31  # FAISS takes a signed integer
            part.cp.min_points_per_centroid = 1  # `plan` warns once, FAISS many times


def _reserve(index: faiss.Index, count: int, chunks: Callable[[], Iterator[np.ndarray]]) -> None:
    """Reserve memory for `count` vectors in an empty index.

    A growing index is briefly in memory twice; a reserved one takes 1.08 times (docs/indexes.md).

    Args:
        chunks: the vectors, which are read once for kinds with cells, to size the cells.
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
    """Reserve memory: a C++ vector keeps it when it shrinks."""
    vector.resize(size)
    vector.resize(0)


def _fill_together(
    index: faiss.Index,
    rows: range,
    fill: Callable[[faiss.Index, range], None],
    processes: ProcessGroup,
    work: Path,
) -> faiss.Index:
    """Fill copies of an index and merge them into the one of the first process.

    Args:
        index: trained in the first process.
        rows: the share of this process; the shares are in the order of the processes.
        fill: adds rows to an index.
        work: a folder that all processes see; it is removed afterwards.
    """
    trained, part = work / "trained.faiss", work / f"{processes.rank}.faiss"
    if processes.is_first:
        work.mkdir(parents=True, exist_ok=True)
        faiss.write_index(index, str(trained))
    processes.wait()
    if not processes.is_first:
        index = faiss.read_index(str(trained))
    fill(index, rows)
    if not processes.is_first:
        faiss.write_index(index, str(part))
    processes.wait()
    if processes.is_first:
        for rank in range(1, processes.size):
            part = work / f"{rank}.faiss"
            index.merge_from(faiss.read_index(str(part)), index.ntotal)
            part.unlink()
        shutil.rmtree(work)
    return index
