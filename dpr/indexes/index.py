"""The index artifact (a manifest and, unless the kind is flat, `index.faiss`) and its search."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from dpr.base.errors import InputError
from dpr.base.files import read_manifest, sha256
from dpr.embeddings.artifact import Embeddings
from dpr.indexes import kinds, wrappers
from dpr.indexes.exact_search import LOCAL, Resources, as_run, cut, exact_search, is_open
from dpr.indexes.wrappers import DotAsL2
from dpr.records import documents
from dpr.records.run import Run
from dpr.settings import SearchSettings
from dpr.similarity import INNER_PRODUCT, L1, SIMILARITIES

FILE, MANIFEST = "index.faiss", "manifest.json"
BLOCK = 64  # queries per call of FAISS
KEYS: dict[str, Any] = {"count": int, "dimension": int, "embeddings": str, "kind": str}
KEYS |= {"vector_dimension": int, "lsh": bool, "sha256": str | None, "similarity": str}
KEYS |= {"max_norm": float | int | None}


@dataclass(frozen=True)
class Index:
    """Finds rows of `embeddings`, by a FAISS index or, for kind flat, by exact search."""

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
        """Open an index folder.

        Args:
            mapped: read only the cells that a search visits; kinds without cells are read whole.
        Raises:
            InputError: if a file is missing, damaged or made from different embeddings.
        """
        folder = Path(folder)
        path = folder / MANIFEST
        manifest = read_manifest(path, KEYS, "index again")
        if manifest["embeddings"] != embeddings.manifest["sha256"]:
            raise InputError(
                f"{folder}: built from different embeddings (fingerprints differ); index again"
            )
        expected = {"count": len(embeddings.vectors), "vector_dimension": embeddings.dimension}
        expected["similarity"] = embeddings.manifest["similarity"]
        if (
            not manifest.items() >= expected.items()
            or not 0 < manifest["dimension"] <= embeddings.dimension
        ):
            raise InputError(f"{path}: damaged (does not fit its embeddings); index again")
        if manifest["sha256"] is None:
            return cls(None, embeddings, manifest, embeddings.vectors.nbytes, resources)
        file = folder / FILE
        if not file.exists() or sha256(file) != manifest["sha256"]:
            raise InputError(f"{file}: missing or damaged (its hash differs); index again")
        flags = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY if mapped else 0
        index = faiss.read_index(str(file), flags)
        added = index.d - manifest["dimension"]  # by `DotAsL2`
        if added < 0 or (added == 0) != (manifest["max_norm"] is None):
            raise InputError(f"{path}: damaged (does not fit its {FILE}); index again")
        return cls(index, embeddings, manifest, file.stat().st_size, resources)

    @property
    def truncates_to(self) -> int | None:
        """The number of compared dimensions if vectors are truncated, else None."""
        dimension: int = self.manifest["dimension"]
        return dimension if dimension < self.manifest["vector_dimension"] else None

    def run(
        self, query_ids: list[str], vectors: np.ndarray, top_k: int, settings: SearchSettings
    ) -> Run:
        """The run of `search` with these settings. Only the first process gets it."""
        nprobe, ef, rescore = settings.nprobe, settings.ef_search, settings.rescore
        scores, rows = self.search(vectors, top_k, nprobe, ef, rescore)
        if not self.resources.processes.is_first:
            return Run.of({})
        return as_run(query_ids, scores, rows, self.embeddings.ids)

    def search_documents(
        self, query_ids: list[str], vectors: np.ndarray, top_k: int, settings: SearchSettings
    ) -> Run:
        """The best passage of each of the `top_k` best documents (`documents.search_documents`).

        `ef_search` and `rescore` grow with the number of passages that this needs.
        """

        def search_at(topics: list[int], depth: int) -> Run:
            ef = settings.ef_search and max(settings.ef_search, depth)
            rescore = settings.rescore and max(settings.rescore, depth)
            scores, rows = self.search(vectors[topics], depth, settings.nprobe, ef, rescore)
            return as_run([query_ids[t] for t in topics], scores, rows, self.embeddings.ids)

        count = self.manifest["count"]
        return documents.search_documents(search_at, query_ids, top_k, count)

    def search(
        self,
        vectors: np.ndarray,
        top_k: int,
        nprobe: int | None = None,
        ef: int | None = None,
        rescore: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and row numbers of the best passages: (Q, K) each, best first, padded with row -1.

        `dpr.indexes.exact_search.cut` decides between equal scores.

        Args:
            vectors: (Q, D) float32 from the encoder; the index truncates them if necessary.
            top_k: passages per query; all passages if the index has fewer.
            nprobe: cells to visit. None: the default of `kinds`.
            ef: length of hnsw's candidate list. None: the default of `kinds`.
            rescore: how many candidates to score again, from the stored vectors.
        Raises:
            InputError: for vectors of a different dimension, or an `ef` below `top_k`.
        """
        whole, count = self.manifest["vector_dimension"], self.manifest["count"]
        if vectors.shape[1] != whole:
            raise InputError(
                f"query vectors have {vectors.shape[1]} dimensions, but the index was made from "
                f"vectors of {whole}: they come from different encoders"
            )
        top_k = min(top_k, count)
        if self.faiss_index is None:
            return exact_search(self.embeddings, vectors, top_k, self.truncates_to, self.resources)
        queries = SIMILARITIES[self.manifest["similarity"]].truncate(vectors, self.truncates_to)
        depth = min(max(top_k, rescore or 0), count)
        reachable = self.set_parameters(depth, nprobe, ef)

        def search_block(block: slice) -> tuple[np.ndarray, np.ndarray]:
            scores, rows = self._with_ties(queries[block], depth, reachable)
            scores, rows = cut(scores, rows, depth, self.embeddings.ids)
            return self.rescored(queries[block], rows, top_k) if rescore else (scores, rows)

        scores, rows = self.resources.processes.in_blocks(len(queries), BLOCK, search_block)
        return scores, rows

    def rescored(
        self, queries: np.ndarray, rows: np.ndarray, top_k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and rows of the best `top_k` candidates, scored exactly from the stored vectors.

        Args:
            queries: (Q, D) float32, truncated as in the index.
            rows: (Q, C) int64 candidates, C >= top_k; -1 is padding, also in the result.
        """
        embeddings, similarity = self.embeddings, SIMILARITIES[self.manifest["similarity"]]
        # A query-passage pair needs the memory of at most four vectors.
        pairs_at_once = max(1, int(self.resources.memory * 2**30) // (16 * embeddings.dimension))
        scores = np.full(rows.shape, -np.inf, np.float32)
        query_of, place_of = np.nonzero(rows >= 0)
        by_row = np.argsort(rows[query_of, place_of], kind="stable")  # reads the file in order
        for start in range(0, len(by_row), pairs_at_once):
            pairs = by_row[start : start + pairs_at_once]
            query, place = query_of[pairs], place_of[pairs]
            distinct, passage = np.unique(rows[query, place], return_inverse=True)
            passages = similarity.truncate(embeddings.take(distinct), self.truncates_to)[passage]
            if similarity.metric == INNER_PRODUCT:
                scores[query, place] = np.einsum("pd,pd->p", queries[query], passages)
            else:
                gaps = np.abs(queries[query] - passages)
                scores[query, place] = -(gaps if similarity.metric == L1 else gaps**2).sum(axis=1)
        return cut(scores, rows, top_k, embeddings.ids)

    def set_parameters(self, depth: int, nprobe: int | None, ef: int | None) -> int:
        """Set FAISS's search parameters; return the number of rows that a search can find.

        The parameters belong to the index with cells or links, which may be inside transforms.
        """
        index, count = wrappers.inner(self.faiss_index), self.manifest["count"]
        if isinstance(index, faiss.IndexIVF):
            index.nprobe = min(nprobe or kinds.default_nprobe(index.nlist), index.nlist)
        elif hasattr(index, "hnsw"):
            index.hnsw.efSearch = length = ef or kinds.default_ef_search(depth)
            if length < depth:
                raise InputError(
                    f"params.yaml: search.ef_search: a list of {length} cannot hold the {depth} "
                    "passages that search.top_k and search.rescore ask for; raise ef_search, "
                    "or lower these two"
                )
            return min(length, count)
        return count

    def _with_ties(
        self, queries: np.ndarray, depth: int, reachable: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The first `depth` or more passages per query, including all ties with the last."""
        asked = min(depth + 1, reachable)
        while True:
            scores, rows = self._ask_faiss(queries, asked)
            scores = np.where(rows >= 0, scores, -np.inf).astype(np.float32)
            unseen = is_open(scores, depth) & (scores[:, depth - 1] == scores[:, -1])
            if asked == reachable or not unseen.any():
                return scores, rows
            asked = min(4 * asked, reachable)

    def _ask_faiss(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores (higher is better) and rows from FAISS."""
        index, max_norm = self.faiss_index, self.manifest["max_norm"]
        assert index is not None
        conversion = None if max_norm is None else DotAsL2(max_norm, index.d)
        searched = queries if conversion is None else conversion.queries(queries)
        distances, rows = index.search(searched, count)
        if conversion is None or self.manifest["lsh"]:  # lsh: the number of differing bits
            return distances if index.metric_type == INNER_PRODUCT else -distances, rows
        return conversion.scores(distances, queries), rows
