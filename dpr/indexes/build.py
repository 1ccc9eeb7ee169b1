"""Building an index: trained on a sample drawn by seed, filled in chunks, the same bytes again.

Memory: the index and one chunk; before that, the sample to train on. The space of the vectors is
taken before the first is added, since a growing index would for a moment be there twice.
"""

import sys
from collections.abc import Callable, Iterator

import faiss
import numpy as np
from tqdm import tqdm

from dpr.collections.ids import IdSet
from dpr.embeddings import Embeddings
from dpr.errors import InputError
from dpr.files import sha256
from dpr.indexes import dot, kinds, layers
from dpr.indexes.kinds import Plan, plan
from dpr.settings import IndexSettings
from dpr.similarity import SIMILARITIES

CHUNK = 16_384  # vectors read and added at a time
LEAST_SAMPLE = 65_536  # vectors to train on, which bounds of sq8 want too
SAMPLED_PER_CENTROID = 64  # vectors to train each centroid on: FAISS advises 39 to 256


def build(
    embeddings: Embeddings, options: IndexSettings, seed: int
) -> tuple[faiss.Index, float | None]:
    """An index over the vectors, compared as the embeddings' own similarity says.

    Returns: the index and, where inner products were turned into distances, the greatest length.
    Raises:
        InputError: for an empty corpus, vectors that cannot be searched, and what `plan` refuses.
    """
    count, whole = embeddings.vectors.shape
    if not count:
        raise InputError("the embeddings hold no vectors: an empty corpus cannot be indexed")
    if options.dimension is not None and options.dimension > whole:
        raise InputError(
            f"params.yaml: index.dimension: {options.dimension}, but the vectors have {whole} "
            "dimensions"
        )
    path = getattr(embeddings.vectors, "filename", None)
    if path is not None and sha256(path) != embeddings.manifest["sha256"]:
        raise InputError(f"{path}: damaged (not the bytes of its manifest); encode again")
    seen = IdSet()
    for identifier in embeddings.ids:
        seen.add(identifier)
    if len(repeated := seen.repeated()):
        twice = next(identifier for identifier in embeddings.ids if identifier in repeated)
        raise InputError(f"the embeddings hold the id {twice!r} twice; ids must be unique")
    similarity = SIMILARITIES[embeddings.manifest["similarity"]]
    chosen = plan(options, similarity, count, options.dimension or whole)
    for note in chosen.notes:
        print(note, file=sys.stderr)
    greatest = _check(embeddings, options.dimension)

    def shaped(vectors: np.ndarray) -> np.ndarray:
        vectors = similarity.cut(vectors, options.dimension)
        return dot.passages(vectors, greatest, chosen.width) if chosen.as_l2 else vectors

    def chunks() -> Iterator[np.ndarray]:
        for start in tqdm(range(0, count, CHUNK), unit=" chunks", disable=None):
            yield shaped(embeddings.read(start, start + CHUNK))

    index = chosen.empty_index()
    _configure(layers.inner(index), options, seed)
    threads = faiss.omp_get_max_threads()
    if "HNSW" in chosen.factory or "NSG" in chosen.factory:
        faiss.omp_set_num_threads(1)  # with more, the links depend on which thread comes first
    try:
        if not index.is_trained:
            index.train(shaped(embeddings.sample(_sample(count, chosen, options, seed))))
        if layers.inner(index).d == chosen.width:  # none that transforms stands before it
            _reserve(layers.inner(index), count, chunks)
        for chunk in chunks():
            index.add(chunk)
    except RuntimeError as error:
        raise kinds.cannot_build(options.kind, error) from None
    finally:
        faiss.omp_set_num_threads(threads)
    return index, greatest if chosen.as_l2 else None


def _check(embeddings: Embeddings, dimension: int | None) -> float:
    """The greatest length of the vectors.

    Raises:
        InputError: for a vector that is not finite, or of length zero where lengths are one.
    """
    greatest, normalize = 0.0, SIMILARITIES[embeddings.manifest["similarity"]].normalize
    for start in range(0, len(embeddings.ids), CHUNK):
        vectors = embeddings.read(start, start + CHUNK)[:, :dimension]
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
        wrong = ~np.isfinite(lengths) | (normalize & (lengths == 0))
        if wrong.any():
            first = int(wrong.argmax())
            what = "NaN or infinity" if not np.isfinite(lengths[first]) else "length zero"
            raise InputError(
                f"the vector of passage {embeddings.ids[start + first]!r} has {what}; encode again "
                "with an encoder that did not diverge"
            )
        greatest = max(greatest, float(lengths.max()))
    return greatest


def _sample(count: int, chosen: Plan, options: IndexSettings, seed: int) -> np.ndarray:
    """Row numbers to train on, in order."""
    wanted = options.train_sample or max(LEAST_SAMPLE, SAMPLED_PER_CENTROID * chosen.trains)
    if wanted >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, wanted, replace=False))


def _configure(index: faiss.Index, options: IndexSettings, seed: int) -> None:
    """Seeds and construction parameters, wherever in the index they apply."""
    if hasattr(index, "hnsw"):
        index.hnsw.efConstruction = options.ef_construction
    for part in (index, getattr(index, "pq", None)):
        if hasattr(part, "cp"):
            part.cp.seed = seed % 2**31  # FAISS takes a signed one
            part.cp.min_points_per_centroid = 1  # `plan` says it once, FAISS again and again


def _reserve(index: faiss.Index, count: int, chunks: Callable[[], Iterator[np.ndarray]]) -> None:
    """Take the memory of `count` vectors: a vector resized to nothing keeps what it had."""
    if hasattr(index, "hnsw"):
        links = index.hnsw.cum_nb_neighbors(1)  # on the lowest level: two for each of M
        # One vector in M has links on a second level, one in M^2 on a third: half as many each.
        _touch(index.hnsw.neighbors, int(count * links * (1.01 + 0.6 / (links / 2 - 1))))
        index = faiss.downcast_index(index.storage)
    if hasattr(index, "codes"):
        _touch(index.codes, count * index.sa_code_size())
    if isinstance(index, faiss.IndexIVF):
        lists = faiss.downcast_InvertedLists(index.invlists)
        quantizer, sizes = index.quantizer, np.zeros(index.nlist, dtype=np.int64)
        for chunk in chunks():
            sizes += np.bincount(quantizer.assign(chunk, 1).ravel(), minlength=index.nlist)
        for cell, size in enumerate(sizes.tolist()):
            lists.resize(cell, size)
            lists.resize(cell, 0)


def _touch(vector, size: int) -> None:
    vector.resize(size)
    vector.resize(0)
