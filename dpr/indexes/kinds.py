"""The kinds of index, and their defaults by the size of the corpus: decided here and nowhere else.

- flat: the vectors; misses nothing.
- ivf: the vectors, in `nlist` cells, of which a search visits `nprobe`.
- hnsw: the vectors, and a graph of `hnsw_m` links a vector, which a search walks.
- sq8: a byte a dimension.
- pq: `pq_bytes` bytes a vector, each the nearest of 256 centroids for one part of it.
- ivfpq: the same of what is left of a vector after its cell's centroid.
- lsh: `lsh_bits` signs of random projections; a score is minus the number of bits that differ.

Any other kind is taken for a FAISS factory string, such as `OPQ96,IVF256,PQ96`.

Defaults: `nlist` is 4 sqrt(N) as FAISS advises, or fewer where a cell would have less than 39
vectors to train on; `nprobe` a quarter of the cells; `ef_search` twice the passages asked for;
`pq_bytes` a byte for 4 dimensions, or more where these do not part them evenly; `lsh_bits` two a
dimension.
"""

import math
import re
from typing import NamedTuple

import faiss

from dpr.errors import InputError
from dpr.settings import IndexSettings
from dpr.similarity import Similarity

KINDS = ("flat", "ivf", "hnsw", "ivfpq", "pq", "sq8", "lsh")
LEAST_PER_CENTROID = 39  # vectors, at least, that FAISS's k-means wants
PQ_CENTROIDS = 256
# On raw inner products these compare by distance or angle what has neither; see dpr.indexes.dot.
BY_DISTANCE = re.compile(r"IVF|HNSW|NSG|LSH")


class Plan(NamedTuple):
    """What is built: `factory` is FAISS's, or LSH and its bits; `as_l2`: dot turned into l2."""

    factory: str
    metric: int
    as_l2: bool
    width: int  # dimensions of the vectors in the index
    trains: int  # centroids to train: 0 for a kind that needs none
    notes: tuple[str, ...] = ()

    @property
    def lsh_bits(self) -> int | None:
        bits = re.fullmatch(r"LSH(\d+)", self.factory)
        return int(bits[1]) if bits else None

    def empty_index(self) -> faiss.Index:
        """Raises InputError where FAISS does not know the factory string."""
        if self.lsh_bits:
            return faiss.IndexLSH(self.width, self.lsh_bits, True, False)
        try:
            return faiss.index_factory(self.width, self.factory, self.metric)
        except RuntimeError as error:
            raise InputError(
                f"params.yaml: index.kind: FAISS cannot make {self.factory!r} of {self.width} "
                f"dimensions: {_reason(error)}; kinds: {', '.join(KINDS)}"
            ) from None


def plan(options: IndexSettings, similarity: Similarity, count: int, dimension: int) -> Plan:
    """What to build of `count` vectors of `dimension`.

    Raises:
        InputError: for what cannot be built of so few vectors or of that dimension.
    """
    if similarity.metric == faiss.METRIC_L1 and options.kind != "flat":
        raise InputError("params.yaml: index.kind: similarity l1 has an index of kind flat alone")
    kind, notes = options.kind, []
    nlist = _nlist(options, count, notes) if kind in ("ivf", "ivfpq") else 0
    half = options.storage == "float16"
    as_l2 = similarity.name == "dot" and bool(BY_DISTANCE.search(kind.upper()))
    width = dimension + as_l2
    # Distances made of dot products are padded to what PQ parts; other vectors stay as they are.
    fourth = math.ceil(width / 4) if as_l2 else _divisors(width, width // 4)[-1]
    pq_bytes = options.pq_bytes or fourth
    if kind in ("pq", "ivfpq"):
        if options.pq_bytes and dimension % pq_bytes:
            raise InputError(
                f"params.yaml: index.pq_bytes: {pq_bytes} does not divide the {dimension} "
                f"dimensions; use one of {_divisors(dimension, dimension)}"
            )
        if count < PQ_CENTROIDS:
            raise InputError(
                f"params.yaml: index.kind: {kind} trains {PQ_CENTROIDS} centroids, but there are "
                f"only {count} passages; use flat"
            )
    if half and kind not in ("flat", "ivf", "hnsw"):
        raise InputError(f"params.yaml: index.storage: {kind} stores codes; leave it float32")
    stored = "SQfp16" if half else "Flat"
    factory = {
        "flat": stored,
        "ivf": f"IVF{nlist},{stored}",
        "hnsw": f"HNSW{options.hnsw_m},{stored}",
        "ivfpq": f"IVF{nlist},PQ{pq_bytes}x8",
        "pq": f"PQ{pq_bytes}x8",
        "sq8": "SQ8",
        "lsh": f"LSH{options.lsh_bits or 2 * dimension}",
    }.get(kind, kind)
    if half and similarity.metric == faiss.METRIC_L1:
        raise InputError("params.yaml: index.storage: similarity l1 stores float32")
    if as_l2 and (parts := re.search(r"PQ(\d+)", factory)):
        width += -width % int(parts[1])  # zeros up to the next number of dimensions that PQ parts
    trains = max(nlist, PQ_CENTROIDS if "pq" in kind else 0)
    if kind not in KINDS:
        trains = max([PQ_CENTROIDS, *map(int, re.findall(r"IVF(\d+)", kind))])
        if count < trains:
            notes.append(f"{kind}: {count} vectors may be too few to train on")
    if options.train_sample and options.train_sample < trains:
        raise InputError(
            f"params.yaml: index.train_sample: {options.train_sample} vectors cannot train "
            f"{trains} centroids; raise it, or leave it null"
        )
    metric = faiss.METRIC_L2 if as_l2 or kind == "lsh" else similarity.metric
    return Plan(factory, metric, as_l2, width, trains, tuple(notes))


def default_nprobe(nlist: int) -> int:
    return max(1, math.ceil(nlist / 4))


def default_ef_search(top_k: int) -> int:
    return 2 * top_k


def _divisors(number: int, most: int) -> list[int]:
    return [n for n in range(1, max(1, most) + 1) if number % n == 0]


def _nlist(options: IndexSettings, count: int, notes: list[str]) -> int:
    if options.nlist is None:
        return max(1, min(round(4 * math.sqrt(count)), count // LEAST_PER_CENTROID))
    if options.nlist > count:
        raise InputError(
            f"params.yaml: index.nlist: {options.nlist} cells, but there are only {count} "
            "passages; lower it, or leave it null"
        )
    if options.nlist * LEAST_PER_CENTROID > count:
        notes.append(
            f"index.nlist: {options.nlist} cells have {count / options.nlist:.0f} vectors each to "
            f"train on; FAISS advises {LEAST_PER_CENTROID} or more"
        )
    return options.nlist


def cannot_build(kind: str, error: Exception) -> InputError:
    return InputError(
        f"params.yaml: index.kind: FAISS cannot build {kind!r} of these vectors: {_reason(error)}"
    )


def _reason(error: Exception) -> str:
    return str(error).split("Error: ")[-1].strip().splitlines()[0]
