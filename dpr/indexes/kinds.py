"""The kinds of index, and their defaults by corpus size.

    flat    exact search over the embeddings; the index itself stores nothing
    ivf     vectors in `nlist` cells, of which a search visits `nprobe`
    hnsw    vectors and a graph with `hnsw_m` links per vector, which a search follows
    sq8     one byte per dimension
    pq      `pq_bytes` bytes per vector: the nearest of 256 centroids for each sub-vector
    ivfpq   cells, and pq of the residual between a vector and its cell's centroid
    lsh     signs of `lsh_bits` random projections; the score is minus the number of differing bits

Any other kind is a FAISS factory string, such as `OPQ96,IVF256,PQ96`.

    nlist      4 sqrt(N), as FAISS advises, with at least 39 vectors per cell
    nprobe     a quarter of the cells
    ef_search  twice `top_k`
    pq_bytes   a quarter of the dimensions, or the next smaller number that divides them
    lsh_bits   two per dimension
"""

import math
import re
from typing import NamedTuple

import faiss

from dpr.base.errors import InputError
from dpr.settings import INDEX_KINDS as KINDS
from dpr.settings import IndexSettings
from dpr.similarity import Similarity

MIN_PER_CENTROID = 39  # vectors; with fewer, FAISS's k-means warns
PQ_CENTROIDS = 256
FLAT = "Flat"  # FAISS's name for exact search
# Kinds that rank badly by raw inner product; see dpr.indexes.wrappers.
BY_DISTANCE = re.compile(r"IVF|HNSW|NSG|LSH")


class Plan(NamedTuple):
    """The FAISS index to build."""

    factory: str  # FAISS's factory string
    metric: int
    as_l2: bool  # whether inner products are converted to distances
    width: int  # dimensions of the vectors in the index
    centroids: int  # to train; 0 for a kind that needs none

    def empty_index(self) -> faiss.Index:
        """Raises InputError for a factory string that FAISS refuses."""
        try:
            return faiss.index_factory(self.width, self.factory, self.metric)
        except RuntimeError as error:
            raise InputError(
                f"params.yaml: index.kind or index.pq_bytes: FAISS cannot make {self.factory!r} of "
                f"{self.width} dimensions: {_reason(error)}; kinds: {', '.join(KINDS)}"
            ) from None


def plan(options: IndexSettings, similarity: Similarity, count: int, dimension: int) -> Plan:
    """The index to build from `count` vectors of `dimension`, before any truncation.

    Raises:
        InputError: if the settings do not fit the count, the dimension or the similarity.
    """
    if options.dimension is not None and options.dimension > dimension:
        raise InputError(
            f"params.yaml: index.dimension: {options.dimension}, but the vectors have {dimension} "
            "dimensions"
        )
    dimension = options.dimension or dimension
    if similarity.metric == faiss.METRIC_L1 and options.kind != "flat":
        raise InputError("params.yaml: index.kind: similarity l1 needs kind flat")
    kind = options.kind
    nlist = _nlist(options, count) if kind in ("ivf", "ivfpq") else 0
    as_l2 = similarity.name == "dot" and bool(BY_DISTANCE.search(kind.upper()))
    width = dimension + as_l2
    # Only converted inner products can be padded to any width.
    quarter = math.ceil(width / 4) if as_l2 else _largest_divisor(width, width // 4)
    pq_bytes = options.pq_bytes or quarter
    if kind in ("pq", "ivfpq") and count < PQ_CENTROIDS:
        raise InputError(
            f"params.yaml: index.kind: {kind} trains {PQ_CENTROIDS} centroids, but there are "
            f"only {count} passages; use flat"
        )
    half = options.storage == "float16"
    if half and kind not in ("ivf", "hnsw"):
        reason = "stores codes; leave it float32"
        if kind == "flat":
            reason = "stores nothing; set encode.dtype float16"
        raise InputError(f"params.yaml: index.storage: {kind} {reason}")
    stored = "SQfp16" if half else FLAT
    factory = {
        "flat": FLAT,
        "ivf": f"IVF{nlist},{stored}",
        "hnsw": f"HNSW{options.hnsw_m},{stored}",
        "ivfpq": f"IVF{nlist},PQ{pq_bytes}x8",
        "pq": f"PQ{pq_bytes}x8",
        "sq8": "SQ8",
        "lsh": f"LSH{options.lsh_bits or 2 * dimension}",
    }.get(kind, kind)
    if re.fullmatch(r"LSH\d+", factory):
        factory += "r"  # signs of random projections instead of the first dimensions
    if as_l2 and (parts := re.search(r"PQ(\d+)", factory)):
        width += -width % int(parts[1])  # zeros up to a multiple of the number of sub-vectors
    centroids = max(nlist, PQ_CENTROIDS if "pq" in kind else 0)
    if kind not in KINDS:
        centroids = max([PQ_CENTROIDS, *map(int, re.findall(r"IVF(\d+)", kind))])
    if options.train_sample and options.train_sample < centroids:
        raise InputError(
            f"params.yaml: index.train_sample: {options.train_sample} vectors cannot train "
            f"{centroids} centroids; raise it, or leave it null"
        )
    metric = faiss.METRIC_L2 if as_l2 or factory.startswith("LSH") else similarity.metric
    return Plan(factory, metric, as_l2, width, centroids)


def default_nprobe(nlist: int) -> int:
    return max(1, math.ceil(nlist / 4))


def default_ef_search(top_k: int) -> int:
    return 2 * top_k


def _largest_divisor(number: int, limit: int) -> int:
    return max(n for n in range(1, max(1, limit) + 1) if number % n == 0)


def _nlist(options: IndexSettings, count: int) -> int:
    if options.nlist is None:
        return max(1, min(round(4 * math.sqrt(count)), count // MIN_PER_CENTROID))
    if options.nlist > count:
        raise InputError(
            f"params.yaml: index.nlist: {options.nlist} cells, but there are only {count} "
            "passages; lower it, or leave it null"
        )
    return options.nlist


def cannot_build(kind: str, error: Exception) -> InputError:
    return InputError(
        f"params.yaml: index.kind: FAISS cannot build {kind!r} from these vectors: {_reason(error)}"
    )


def _reason(error: Exception) -> str:
    return str(error).split("Error: ")[-1].strip().splitlines()[0]
