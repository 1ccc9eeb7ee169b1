"""The index artifact, and searching it: `index.faiss`, unless the kind is flat, and a manifest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from dpr.base.environment import installed
from dpr.base.errors import InputError
from dpr.base.files import new_folder, read_manifest, sha256, write_json
from dpr.embeddings.artifact import Embeddings
from dpr.indexes import kinds, wrappers
from dpr.indexes.exact_search import LOCAL, Resources, cut, exact_search, is_open
from dpr.indexes.rescoring import rescored
from dpr.indexes.wrappers import DotAsL2
from dpr.settings import IndexSettings
from dpr.similarity import SIMILARITIES, scores_of_faiss

FILE, MANIFEST = "index.faiss", "manifest.json"
BLOCK = 64  # queries that FAISS is asked together
KEYS: dict[str, Any] = {"count": int, "dimension": int, "embeddings": str, "kind": str}
KEYS |= {"vector_dimension": int, "lsh": bool, "sha256": str | None, "similarity": str}


@dataclass(frozen=True)
class Index:
    """What finds rows of `embeddings`: a FAISS index; for kind flat none, but exact search."""

    faiss_index: faiss.Index | None
    embeddings: Embeddings
    manifest: dict[str, Any]
    size: int  # bytes
    resources: Resources = LOCAL

    @classmethod
    def open(
        cls,
        folder: str | Path,
        embeddings: Embeddings,
        resources: Resources = LOCAL,
        mapped: bool = True,
    ) -> "Index":
        """From its folder.

        Args:
            mapped: read only the cells that a search visits; kinds without cells are read whole.
        Raises:
            InputError: for a file that is missing, damaged or of other embeddings.
        """
        folder = Path(folder)
        manifest = read_manifest(folder / MANIFEST, KEYS, "index again")
        if "max_norm" not in manifest:
            raise InputError(f"{folder}: an index of an earlier version; index again")
        if not isinstance(manifest["max_norm"], float | int | None):
            raise InputError(f"{folder / MANIFEST}: 'max_norm' is damaged; index again")
        if manifest["embeddings"] != embeddings.manifest["sha256"]:
            raise InputError(
                f"{folder}: built from other embeddings (their fingerprints differ); index again"
            )
        of_embeddings = {"count": len(embeddings.vectors), "vector_dimension": embeddings.dimension}
        of_embeddings["similarity"] = embeddings.manifest["similarity"]
        narrow = 0 < manifest["dimension"] <= embeddings.dimension
        if manifest | of_embeddings != manifest or not narrow:
            raise InputError(f"{folder / MANIFEST}: damaged (not of its embeddings); index again")
        if manifest["sha256"] is None:
            return cls(None, embeddings, manifest, embeddings.vectors.nbytes, resources)
        path = folder / FILE
        if not path.exists() or sha256(path) != manifest["sha256"]:
            raise InputError(
                f"{path}: missing or damaged (not the bytes of its manifest); index again"
            )
        flags = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY if mapped else 0
        index = faiss.read_index(str(path), flags)
        more = index.d - manifest["dimension"]
        fits = more == 0 if manifest["max_norm"] is None else more > 0  # `DotAsL2`
        if index.ntotal != manifest["count"] or not fits:
            raise InputError(f"{folder / MANIFEST}: damaged (not of its {FILE}); index again")
        return cls(index, embeddings, manifest, path.stat().st_size, resources)

    def search(
        self,
        vectors: np.ndarray,
        top_k: int,
        nprobe: int | None = None,
        ef: int | None = None,
        rescore: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and row numbers, (Q, K) each, best first; row -1 pads if fewer are found.

        Which of several equal scores has the last place: see `dpr.indexes.exact_search`.

        Args:
            vectors: (Q, D) float32, of the encoder; the index truncates them if it was told to.
            top_k: passages of each query; all, if the index has fewer.
            nprobe, ef: cells visited, length of the list in hnsw; None: the defaults of `kinds`.
            rescore: passages that are found first, and scored anew by their stored vectors.
        Raises:
            InputError: for vectors of another dimension, or a list shorter than `top_k`.
        """
        vectors = self._truncated(vectors)
        top_k = min(top_k, self.manifest["count"])
        if self.faiss_index is None:
            return exact_search(self.embeddings, vectors, top_k, self.truncates_to, self.resources)

        def found(some: slice) -> tuple[np.ndarray, np.ndarray]:
            return self._found(vectors[some], top_k, nprobe, ef, rescore)

        scores, rows = self.resources.processes.in_blocks(len(vectors), BLOCK, found)
        return scores, rows

    def _found(
        self,
        vectors: np.ndarray,
        top_k: int,
        nprobe: int | None,
        ef: int | None,
        rescore: int | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same of a block of queries."""
        ids, candidates = self.embeddings.ids, min(max(top_k, rescore or 0), self.manifest["count"])
        scores, rows = cut(*self._with_ties(vectors, candidates, nprobe, ef), candidates, ids)
        if not rescore:
            return scores, rows
        return rescored(
            self.embeddings, vectors, rows, top_k, self.truncates_to, self.resources.memory
        )

    def _with_ties(
        self, vectors: np.ndarray, top_k: int, nprobe: int | None, ef: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The first `top_k` or more of each query: with all that is tied with the last of them."""
        parameters, most = self._parameters(top_k, nprobe, ef)
        depth = min(top_k + 1, most)
        while True:
            scores, rows = self._search(vectors, depth, parameters)
            scores = np.where(rows >= 0, scores, -np.inf).astype(np.float32)
            unseen = is_open(scores, top_k) & (scores[:, top_k - 1] == scores[:, -1])
            if depth == most or not unseen.any():
                return scores, rows
            depth = min(4 * depth, most)

    def _search(
        self, vectors: np.ndarray, top_k: int, parameters: faiss.SearchParameters | None
    ) -> tuple[np.ndarray, np.ndarray]:
        index = self.faiss_index
        assert index is not None  # `search` has asked
        max_norm = self.manifest["max_norm"]
        if max_norm is None:
            distances, rows = index.search(vectors, top_k, params=parameters)
            return scores_of_faiss(distances, index.metric_type), rows
        converted = DotAsL2(max_norm, index.d)
        distances, rows = index.search(converted.queries(vectors), top_k, params=parameters)
        if self.manifest["lsh"]:  # its distances are differing bits
            return scores_of_faiss(distances, index.metric_type), rows
        return converted.scores(distances, vectors), rows

    @property
    def truncates_to(self) -> int | None:
        """How many dimensions of a vector are compared; None: all."""
        dimension: int = self.manifest["dimension"]
        return dimension if dimension < self.manifest["vector_dimension"] else None

    def _truncated(self, vectors: np.ndarray) -> np.ndarray:
        whole = self.manifest["vector_dimension"]
        if vectors.shape[1] != whole:
            raise InputError(
                f"query vectors of {vectors.shape[1]} dimensions, but the index was made of "
                f"vectors of {whole}: they come from different encoders"
            )
        return SIMILARITIES[self.manifest["similarity"]].truncate(vectors, self.truncates_to)

    def _parameters(
        self, top_k: int, nprobe: int | None, ef: int | None
    ) -> tuple[faiss.SearchParameters | None, int]:
        """FAISS's parameters of a search, None for kinds without any; how many it can find."""
        index, count = wrappers.inner(self.faiss_index), self.manifest["count"]
        if isinstance(index, faiss.IndexIVF):
            chosen = min(nprobe or kinds.default_nprobe(index.nlist), index.nlist)
            parameters = faiss.SearchParametersIVF(nprobe=chosen)
            return wrappers.wrapped(self.faiss_index, parameters), count
        if hasattr(index, "hnsw"):
            chosen = ef or kinds.default_ef_search(top_k)
            if chosen < min(top_k, count):
                raise InputError(
                    f"params.yaml: search.ef_search: a list of {chosen} cannot hold the {top_k} "
                    "passages that search.top_k and search.rescore ask for; raise it, or lower them"
                )
            parameters = faiss.SearchParametersHNSW(efSearch=chosen)
            return wrappers.wrapped(self.faiss_index, parameters), min(chosen, count)
        return None, count


def save(
    index: faiss.Index | None,
    max_norm: float | None,
    embeddings: Embeddings,
    options: IndexSettings,
    folder: str | Path,
) -> None:
    """Write what `build` returned, with all that a search has to know."""
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
