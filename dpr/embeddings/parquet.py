"""Vectors as a Parquet file, which vector databases load (Milvus, Qdrant, LanceDB, Vespa).

Columns: `id` (string), `vector` (a fixed-size list of float32) and `text` (string).
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from dpr.base.errors import InputError
from dpr.base.files import unfinished
from dpr.embeddings.artifact import Embeddings
from dpr.records.corpus import Corpus

AT_ONCE = 16_384  # rows in memory, and in a row group


def write_parquet(embeddings: Embeddings, corpus: Corpus, path: Path) -> None:
    """Write all passages, some at a time.

    Raises:
        InputError: for a corpus that is not the one of the vectors.
    """
    dimension = embeddings.dimension
    vector = pyarrow.list_(pyarrow.float32(), dimension)
    columns = {"id": pyarrow.string(), "vector": vector, "text": pyarrow.string()}
    schema = pyarrow.schema(columns)
    count = 0
    with unfinished(path) as partial, pyarrow.parquet.ParquetWriter(partial, schema) as writer:
        for start, ids, texts in _windows(corpus):
            vectors = embeddings.read(start, start + len(ids))
            if ids != list(embeddings.ids[start : start + len(ids)]):
                raise _other_passages(corpus)
            flat = pyarrow.array(np.ascontiguousarray(vectors).ravel())
            lists = pyarrow.FixedSizeListArray.from_arrays(flat, dimension)
            writer.write_table(pyarrow.table([ids, lists, texts], schema=schema))
            count += len(ids)
        if count < len(embeddings.ids):
            raise _other_passages(corpus)


def _other_passages(corpus: Corpus) -> InputError:
    return InputError(f"{corpus.file}: not the passages of the vectors; encode again")


def _windows(corpus: Corpus) -> Iterator[tuple[int, list[str], list[str]]]:
    """(first row, ids, texts)."""
    passages, start = corpus.texts(), 0
    while window := list(islice(passages, AT_ONCE)):
        ids, texts = map(list, zip(*window, strict=True))
        yield start, ids, texts
        start += len(ids)
