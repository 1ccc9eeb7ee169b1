"""The FAISS index artifact: `index.faiss`, `ids.txt` and `manifest.json`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from dpr.embeddings import Embeddings, read_ids, write_ids
from dpr.errors import InputError
from dpr.files import new_folder, read_json, sha256, write_json
from dpr.indexes import dot, kinds, layers
from dpr.settings import IndexSettings
from dpr.similarity import SIMILARITIES


@dataclass(frozen=True)
class Index:
    """Row numbers of `faiss_index` are positions in `ids`."""

    faiss_index: faiss.Index
    ids: list[str]
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> "Index":
        """Raises InputError where a file is missing, damaged or of another index."""
        folder = Path(folder)
        manifest = read_json(folder / "manifest.json")
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
        """Refuse an index that was built from other embeddings than those of that manifest."""
        if self.manifest["embeddings"] != recorded["sha256"]:
            raise InputError(
                f"{where}: built from other embeddings (their fingerprints differ); index again"
            )

    def search(
        self, vectors: np.ndarray, top_k: int, nprobe: int | None = None, ef: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores, higher is better, and row numbers, -1 where fewer were found: (Q, K) each.

        Args:
            vectors: (Q, D) float32, of the encoder; they are cut to the index's dimension.
            top_k: more than the index holds gives all that it holds.
            nprobe, ef: cells visited, length of the walk's list; None: the defaults of `kinds`.
        Raises:
            InputError: where the vectors are not of that encoder.
        """
        whole = self.manifest["vector_dimension"]
        if vectors.shape[1] != whole:
            raise InputError(
                f"query vectors of {vectors.shape[1]} dimensions, but the index was made of "
                f"vectors of {whole}: they come from different encoders"
            )
        similarity = SIMILARITIES[self.manifest["similarity"]]
        if (dimension := self.manifest["dimension"]) != whole:
            vectors = similarity.cut(vectors, dimension)
        greatest, index = self.manifest["greatest_length"], self.faiss_index
        parameters = self._parameters(top_k, nprobe, ef)
        asked = vectors if greatest is None else dot.queries(vectors, index.d)
        distances, rows = index.search(asked, min(top_k, len(self.ids)), params=parameters)
        if greatest is not None and not self.manifest["lsh"]:
            return dot.scores(distances, vectors, greatest), rows
        by_product = index.metric_type == faiss.METRIC_INNER_PRODUCT
        return (distances if by_product else -distances), rows

    def _parameters(
        self, top_k: int, nprobe: int | None, ef: int | None
    ) -> faiss.SearchParameters | None:
        """What this kind of index lets a search choose; nothing for most."""
        index = layers.inner(self.faiss_index)
        if isinstance(index, faiss.IndexIVF):
            chosen = min(nprobe or kinds.default_nprobe(index.nlist), index.nlist)
            return layers.for_inner(self.faiss_index, faiss.SearchParametersIVF(nprobe=chosen))
        if hasattr(index, "hnsw"):
            chosen = ef or kinds.default_ef_search(top_k)
            if chosen < min(top_k, len(self.ids)):
                raise InputError(
                    f"params.yaml: search.ef_search: a list of {chosen} cannot hold the {top_k} "
                    "passages that search.top_k asks for; raise it, or lower search.top_k"
                )
            return layers.for_inner(self.faiss_index, faiss.SearchParametersHNSW(efSearch=chosen))
        return None


def save(
    index: faiss.Index,
    greatest: float | None,
    embeddings: Embeddings,
    options: IndexSettings,
    folder: str | Path,
) -> None:
    """Write what `build` made, with all that a search has to know of it."""
    with new_folder(folder) as partial:
        faiss.write_index(index, str(partial / "index.faiss"))
        write_ids(partial / "ids.txt", embeddings.ids)
        manifest = {
            "count": len(embeddings.ids),
            "dimension": options.dimension or embeddings.vectors.shape[1],
            "embeddings": embeddings.manifest["sha256"],
            "encoder": embeddings.manifest["encoder"]["sha256"],
            "greatest_length": greatest,
            "ids_sha256": sha256(partial / "ids.txt"),
            "kind": options.kind,
            "lsh": isinstance(index, faiss.IndexLSH),
            "normalized": SIMILARITIES[embeddings.manifest["similarity"]].normalize,
            "sha256": sha256(partial / "index.faiss"),
            "similarity": embeddings.manifest["similarity"],
            "vector_dimension": embeddings.vectors.shape[1],
        }
        write_json(partial / "manifest.json", manifest)
