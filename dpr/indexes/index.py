"""The index artifact, and searching it: `index.faiss`, `ids.txt` and `manifest.json`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from dpr.base.errors import InputError
from dpr.base.files import new_folder, read_json, sha256, write_json
from dpr.base.versions import installed
from dpr.embeddings.artifact import Embeddings, read_ids, write_ids
from dpr.indexes import kinds, wrappers
from dpr.indexes.dot_as_l2 import DotAsL2
from dpr.settings import IndexSettings
from dpr.similarity import SIMILARITIES, scores_of_faiss


@dataclass(frozen=True)
class Index:
    """Row numbers of `faiss_index` are positions in `ids`."""

    faiss_index: faiss.Index
    ids: list[str]
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> "Index":
        """Raises InputError for a file that is missing, damaged or of another index."""
        folder = Path(folder)
        manifest = read_json(folder / "manifest.json")
        if "max_norm" not in manifest:
            raise InputError(f"{folder}: an index of an earlier version; index again")
        path = folder / "index.faiss"
        if not path.exists() or sha256(path) != manifest["sha256"]:
            raise InputError(
                f"{path}: missing or damaged (not the bytes of its manifest); index again"
            )
        index = cls(faiss.read_index(str(path)), read_ids(folder / "ids.txt"), manifest)
        if sha256(folder / "ids.txt") != manifest["ids_sha256"]:
            raise InputError(f"{folder / 'ids.txt'}: not the ids of its manifest; index again")
        if index.faiss_index.ntotal != len(index.ids):
            raise InputError(
                f"{folder}: {index.faiss_index.ntotal} vectors, {len(index.ids)} ids; index again"
            )
        return index

    def require_embeddings(self, recorded: dict[str, Any], where: object) -> None:
        """Raises InputError if the index was built from other embeddings than the recorded ones."""
        if self.manifest["embeddings"] != recorded["sha256"]:
            raise InputError(
                f"{where}: built from other embeddings (their fingerprints differ); index again"
            )

    def search(
        self, vectors: np.ndarray, top_k: int, nprobe: int | None = None, ef: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and row numbers, (Q, K) each, best first; row -1 pads if fewer are found.

        Args:
            vectors: (Q, D) float32, of the encoder; the index truncates them if it was told to.
            top_k: passages of each query; all, if the index has fewer.
            nprobe, ef: cells visited, length of the list in hnsw; None: the defaults of `kinds`.
        Raises:
            InputError: for vectors of another dimension, or a list shorter than `top_k`.
        """
        vectors = self._truncated(vectors)
        index, parameters = self.faiss_index, self._parameters(top_k, nprobe, ef)
        top_k, max_norm = min(top_k, len(self.ids)), self.manifest["max_norm"]
        if max_norm is None:
            distances, rows = index.search(vectors, top_k, params=parameters)
            return scores_of_faiss(distances, index.metric_type), rows
        converted = DotAsL2(max_norm, index.d)
        distances, rows = index.search(converted.queries(vectors), top_k, params=parameters)
        if self.manifest["lsh"]:  # its distances are differing bits
            return scores_of_faiss(distances, index.metric_type), rows
        return converted.scores(distances, vectors), rows

    def _truncated(self, vectors: np.ndarray) -> np.ndarray:
        whole, dimension = self.manifest["vector_dimension"], self.manifest["dimension"]
        if vectors.shape[1] != whole:
            raise InputError(
                f"query vectors of {vectors.shape[1]} dimensions, but the index was made of "
                f"vectors of {whole}: they come from different encoders"
            )
        if dimension == whole:
            return vectors
        return SIMILARITIES[self.manifest["similarity"]].truncate(vectors, dimension)

    def _parameters(
        self, top_k: int, nprobe: int | None, ef: int | None
    ) -> faiss.SearchParameters | None:
        """FAISS's parameters of this search; None for kinds without any."""
        index = wrappers.inner(self.faiss_index)
        if isinstance(index, faiss.IndexIVF):
            chosen = min(nprobe or kinds.default_nprobe(index.nlist), index.nlist)
            return wrappers.wrapped(self.faiss_index, faiss.SearchParametersIVF(nprobe=chosen))
        if hasattr(index, "hnsw"):
            chosen = ef or kinds.default_ef_search(top_k)
            if chosen < min(top_k, len(self.ids)):
                raise InputError(
                    f"params.yaml: search.ef_search: a list of {chosen} cannot hold the {top_k} "
                    "passages that search.top_k asks for; raise it, or lower search.top_k"
                )
            return wrappers.wrapped(self.faiss_index, faiss.SearchParametersHNSW(efSearch=chosen))
        return None


def save(
    index: faiss.Index,
    max_norm: float | None,
    embeddings: Embeddings,
    options: IndexSettings,
    folder: str | Path,
) -> None:
    """Write what `build` returned, with all that a search has to know."""
    with new_folder(folder) as partial:
        faiss.write_index(index, str(partial / "index.faiss"))
        write_ids(partial / "ids.txt", embeddings.ids)
        manifest = {
            "count": len(embeddings.ids),
            "dimension": options.dimension or embeddings.vectors.shape[1],
            "embeddings": embeddings.manifest["sha256"],
            "encoder": embeddings.manifest["encoder"]["sha256"],
            "ids_sha256": sha256(partial / "ids.txt"),
            "kind": options.kind,
            "lsh": isinstance(index, faiss.IndexLSH),
            "max_norm": max_norm,
            "normalized": SIMILARITIES[embeddings.manifest["similarity"]].normalize,
            "sha256": sha256(partial / "index.faiss"),
            "similarity": embeddings.manifest["similarity"],
            "vector_dimension": embeddings.vectors.shape[1],
            "versions": installed("faiss-cpu"),
        }
        write_json(partial / "manifest.json", manifest)
