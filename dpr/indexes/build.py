"""Building an index: train it on a seeded sample, then fill it in chunks.

Equal inputs give equal bytes. Memory holds the training sample first, then the index and one chunk.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from dpr.base.environment import installed
from dpr.base.errors import InputError
from dpr.base.files import new_folder, sha256, write_json
from dpr.base.processes import SINGLE, ProcessGroup
from dpr.base.progress import progress
from dpr.embeddings.artifact import Embeddings
from dpr.indexes import kinds, wrappers
from dpr.indexes.index import FILE, MANIFEST
from dpr.indexes.kinds import Plan, plan
from dpr.indexes.wrappers import DotAsL2
from dpr.settings import IndexSettings
from dpr.similarity import SIMILARITIES

CHUNK = 16_384  # vectors read and added at a time
MIN_SAMPLE = 65_536  # vectors to train on; sq8 learns its bounds from them
SAMPLED_PER_CENTROID = 64  # FAISS advises 39 to 256


def build(
    embeddings: Embeddings,
    options: IndexSettings,
    seed: int,
    folder: str | Path,
    processes: ProcessGroup = SINGLE,
) -> faiss.Index | None:
    """Write an index over the vectors, for the similarity in their manifest.

    In an index with cells, each process fills a part, and the first process merges the parts. The
    first process fills all other kinds alone. The number of processes changes no byte, except for
    fast-scan kinds (PQ96x4fs), which still return the same passages.

    Args:
        folder: the new index, on a disk that all processes share.
    Returns: the index; None for kind flat, and in every process but the first.
    Raises:
        InputError: for damaged vectors, or settings that `plan` refuses.
    """
    if processes.is_first:
        _require_undamaged(embeddings)
    similarity, count = SIMILARITIES[embeddings.manifest["similarity"]], len(embeddings.vectors)
    chosen = plan(options, similarity, count, embeddings.dimension)
    folder = Path(folder)
    if chosen.factory == kinds.FLAT:
        if processes.is_first:
            _save(None, None, embeddings, options, folder)
        return None
    # Processes share whole chunks, so each chunk is converted as in a single process.
    own = range(count)[processes.shard(count, block=CHUNK)]
    max_norm = None
    if chosen.as_l2:
        max_norm = processes.maximum(_max_norm(embeddings, options.dimension, own))

    def converted(vectors: np.ndarray) -> np.ndarray:
        vectors = similarity.truncate(vectors, options.dimension)
        return vectors if max_norm is None else DotAsL2(max_norm, chosen.width).passages(vectors)

    def fill(index: faiss.Index, rows: range) -> None:
        def chunks() -> Iterator[np.ndarray]:
            for start in progress(rows[::CHUNK], processes.is_first, unit="chunks"):
                yield converted(embeddings.read(start, min(start + CHUNK, rows.stop)))

        if wrappers.inner(index).d == chosen.width:  # no transform precedes it
            _reserve(wrappers.inner(index), len(rows), chunks)
        for chunk in chunks():
            index.add(chunk)

    threads = faiss.omp_get_max_threads()
    if "HNSW" in chosen.factory or "NSG" in chosen.factory:
        faiss.omp_set_num_threads(1)  # with more, the links depend on thread timing
    try:
        index = chosen.empty_index()
        _configure(wrappers.inner(index), options, seed)
        if processes.is_first and not index.is_trained:
            index.train(converted(embeddings.sample(_sample(count, chosen, options, seed))))
        if processes.size > 1 and wrappers.can_be_merged(index):
            parts = folder.with_name(f"{folder.name}.parts.partial")
            index = _fill_together(index, own, fill, processes, parts)
        elif processes.is_first:
            fill(index, range(count))
    except RuntimeError as error:
        raise kinds.cannot_build(options.kind, error) from None
    finally:
        faiss.omp_set_num_threads(threads)
    if not processes.is_first:
        return None
    _save(index, max_norm, embeddings, options, folder)
    return index


def _require_undamaged(embeddings: Embeddings) -> None:
    """Raises InputError if the hash of the vectors differs from their manifest."""
    vectors = embeddings.vectors
    path = vectors.filename if isinstance(vectors, np.memmap) else None
    if path is not None and sha256(str(path)) != embeddings.manifest["sha256"]:
        raise InputError(f"{path}: damaged (its hash differs from the manifest); encode again")


def _max_norm(embeddings: Embeddings, dimension: int | None, rows: range) -> float:
    max_norm = 0.0
    for start in rows[::CHUNK]:
        vectors = embeddings.read(start, min(start + CHUNK, rows.stop))[:, :dimension]
        norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
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
    quantizers = [part.pq for part in parts if hasattr(part, "pq")]
    for part in [*parts, *quantizers]:
        if hasattr(part, "do_polysemous_training"):
            part.do_polysemous_training = False  # takes seconds per byte; no search here uses it
        if hasattr(part, "cp"):
            part.cp.seed = seed % 2**31  # FAISS takes a signed integer
    for quantizer in quantizers:
        quantizer.cp.min_points_per_centroid = 1  # otherwise FAISS warns for each sub-vector


def _reserve(index: faiss.Index, count: int, chunks: Callable[[], Iterator[np.ndarray]]) -> None:
    """Reserve memory for `count` vectors in an empty index.

    A growing index is briefly in memory twice. A reserved index needs 1.08 times its own size
    (docs/indexes.md).

    Args:
        chunks: the vectors; kinds with cells read them once to size the cells.
    """
    if hasattr(index, "hnsw"):
        links = index.hnsw.cum_nb_neighbors(1)  # per vector on the lowest level: 2 M
        # One vector in M is also on the second level, one in M^2 on the third; each level adds M.
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
    """Reserve memory: a C++ vector that shrinks keeps its memory."""
    vector.resize(size)
    vector.resize(0)


def _fill_together(
    index: faiss.Index,
    rows: range,
    fill: Callable[[faiss.Index, range], None],
    processes: ProcessGroup,
    parts: Path,
) -> faiss.Index:
    """Fill a copy of the index in each process, and merge the copies in the first.

    Args:
        index: trained in the first process.
        rows: the share of this process; shares follow the order of processes.
        fill: adds rows to an index.
        parts: a temporary folder that all processes see.
    """
    trained, part = parts / "trained.faiss", parts / f"{processes.rank}.faiss"
    if processes.is_first:
        parts.mkdir(parents=True, exist_ok=True)
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
            part = parts / f"{rank}.faiss"
            index.merge_from(faiss.read_index(str(part)), index.ntotal)
            part.unlink()
        shutil.rmtree(parts)
    return index


def _save(
    index: faiss.Index | None,
    max_norm: float | None,
    embeddings: Embeddings,
    options: IndexSettings,
    folder: Path,
) -> None:
    """Write the index, and the manifest that a search needs."""
    with new_folder(folder) as partial:
        if index is not None:
            faiss.write_index(index, str(partial / FILE))
        manifest = {
            "count": len(embeddings.vectors),
            "dimension": options.dimension or embeddings.dimension,
            "embeddings": embeddings.manifest["sha256"],
            "encoder": embeddings.manifest["encoder"]["sha256"],
            "kind": options.kind,
            "lsh": isinstance(index, faiss.IndexLSH),
            "max_norm": max_norm,
            "normalized": SIMILARITIES[embeddings.manifest["similarity"]].normalize,
            "sha256": None if index is None else sha256(partial / FILE),
            "similarity": embeddings.manifest["similarity"],
            "vector_dimension": embeddings.dimension,
            "versions": installed("faiss-cpu"),
        }
        write_json(partial / MANIFEST, manifest)
