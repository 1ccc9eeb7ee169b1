"""Vectors as a Parquet file, which vector databases load (Milvus, Qdrant, LanceDB, Vespa).

Columns: `id` (string), `vector` (a fixed-size list of float32) and `text` (string).
"""

from itertools import islice
from pathlib import Path

import pyarrow
import pyarrow.parquet

from dpr.base.errors import InputError
from dpr.base.files import unfinished
from dpr.embeddings.artifact import Embeddings
from dpr.records.corpus import Corpus

AT_ONCE = 16_384  # rows in memory, and per row group


def write_parquet(embeddings: Embeddings, corpus: Corpus, path: Path) -> None:
    """Write all passages in small row groups.

    Raises:
        InputError: if the corpus has different passages than the vectors.
    """
    dimension, count = embeddings.dimension, len(embeddings.ids)
    vector = pyarrow.list_(pyarrow.float32(), dimension)
    columns = {"id": pyarrow.string(), "vector": vector, "text": pyarrow.string()}
    schema = pyarrow.schema(columns)
    passages = corpus.texts()
    different = InputError(f"{corpus.file}: not the passages of the vectors; encode again")
    with unfinished(path) as partial, pyarrow.parquet.ParquetWriter(partial, schema) as writer:
        for start in range(0, count, AT_ONCE):
            rows = list(islice(passages, AT_ONCE))
            ids, texts = [passage_id for passage_id, _ in rows], [text for _, text in rows]
            if ids != embeddings.ids[start : start + AT_ONCE]:
                raise different
            flat = pyarrow.array(embeddings.read(start, start + AT_ONCE).ravel())
            lists = pyarrow.FixedSizeListArray.from_arrays(flat, dimension)
            writer.write_table(pyarrow.table([ids, lists, texts], schema=schema))
        if next(passages, None) is not None:
            raise different
