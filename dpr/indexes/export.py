"""Export to the layout of pyserini's FaissSearcher: the files `index` and `docid`."""

from pathlib import Path

import faiss

from dpr.base.errors import InputError
from dpr.base.files import new_file, new_folder
from dpr.embeddings.artifact import READ_AT_ONCE, Embeddings
from dpr.indexes.index import Index
from dpr.settings import SearchSettings
from dpr.similarity import SIMILARITIES

INDEX, IDS = "index", "docid"  # pyserini's names


def to_pyserini(index: Index, folder: str | Path, settings: SearchSettings) -> None:
    """Write the index for `FaissSearcher(folder, query_encoder)`.

    FaissSearcher takes no search parameters, so they are stored in the index. Its scores equal the
    scores of `Index.search` for cosine and dot. For l2 they are squared distances.

    Args:
        folder: new, empty, or an earlier export, which is replaced.
    Raises:
        InputError: for an index that pyserini cannot search, or a folder with more than an export.
    """
    folder = Path(folder)
    if folder.exists() and not (
        folder.is_dir() and {path.name for path in folder.iterdir()} <= {INDEX, IDS}
    ):
        raise InputError(f"{folder}: contains more than an export; choose a new folder")
    if index.manifest["max_norm"] is not None:
        raise InputError(
            f"index.kind {index.manifest['kind']}: it turns dot products into distances, which "
            "pyserini does not undo; export an index of kind flat or sq8, or of similarity cosine"
        )
    if index.manifest["dimension"] < index.manifest["vector_dimension"]:
        raise InputError("index.dimension: pyserini does not truncate queries; export full vectors")
    if index.manifest["lsh"]:
        raise InputError(
            "index.kind lsh: pyserini would read the number of differing bits as a score"
        )
    faiss_index = index.faiss_index
    if faiss_index is None:
        faiss_index = _flat(index.embeddings)
    else:
        index.set_parameters(settings.top_k, settings.nprobe, settings.ef_search)
    with new_folder(folder.resolve()) as partial:
        faiss.write_index(faiss_index, str(partial / INDEX))
        with new_file(partial / IDS) as file:
            file.writelines(f"{passage_id}\n" for passage_id in index.embeddings.ids)


def _flat(embeddings: Embeddings) -> faiss.Index:
    """An exact FAISS index, in memory."""
    index = faiss.IndexFlat(
        embeddings.dimension, SIMILARITIES[embeddings.manifest["similarity"]].metric
    )
    for start in range(0, len(embeddings.vectors), READ_AT_ONCE):
        index.add(embeddings.read(start, start + READ_AT_ONCE))
    return index
