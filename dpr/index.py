"""The FAISS index artifact: `index.faiss`, `ids.txt` and `manifest.json`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss

from dpr.embeddings import Embeddings, read_ids, write_ids
from dpr.errors import InputError
from dpr.files import new_folder, read_json, sha256, write_json
from dpr.similarity import SIMILARITIES

CHUNK = 65_536  # vectors added at a time: the memory map is never copied whole


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
        if index.faiss_index.ntotal != len(index.ids):
            raise InputError(
                f"{folder}: {index.faiss_index.ntotal} vectors, {len(index.ids)} ids; index again"
            )
        return index


def build(embeddings: Embeddings, dimension: int | None = None) -> faiss.Index:
    """An exact index over the vectors, compared as the embeddings' own similarity says.

    Args:
        dimension: of the vectors only the first so many components; None: all.
    Raises:
        InputError: where the vectors have fewer.
    """
    count, whole = embeddings.vectors.shape
    if dimension is not None and dimension > whole:
        raise InputError(
            f"params.yaml: index.dimension: {dimension}, but the vectors have {whole} dimensions"
        )
    similarity = SIMILARITIES[embeddings.manifest["similarity"]]
    index = faiss.IndexFlat(dimension or whole, similarity.metric)
    for start in range(0, count, CHUNK):
        index.add(similarity.cut(embeddings.vectors[start : start + CHUNK], dimension))
    return index


def save(index: faiss.Index, embeddings: Embeddings, kind: str, folder: str | Path) -> None:
    with new_folder(folder) as partial:
        faiss.write_index(index, str(partial / "index.faiss"))
        write_ids(partial / "ids.txt", embeddings.ids)
        manifest = {
            "count": len(embeddings.ids),
            "dimension": index.d,
            "vector_dimension": embeddings.vectors.shape[1],
            "embeddings": embeddings.manifest["sha256"],
            "encoder": embeddings.manifest["encoder"]["sha256"],
            "kind": kind,
            "sha256": sha256(partial / "index.faiss"),
            "similarity": embeddings.manifest["similarity"],
        }
        write_json(partial / "manifest.json", manifest)
