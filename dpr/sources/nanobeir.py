"""`nanobeir:FOLDER`: a collection in the layout of NanoBEIR's data sets, in Parquet files.

corpus/*.parquet    _id, text
queries/*.parquet   _id, text
qrels/*.parquet     query-id, corpus-id
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet

from dpr.base.errors import InputError
from dpr.records.types import Judgment, Passage, Query
from dpr.sources.types import Collection, Request

TEXTS, JUDGED = ["_id", "text"], ["query-id", "corpus-id"]


def collection(request: Request) -> Collection:
    """Raises InputError for a folder, file or column that is missing or cannot be read."""
    folder = Path(request.place)
    return Collection(
        passages=(Passage(key, "", text) for key, text in _rows(folder / "corpus", TEXTS)),
        queries=[Query(key, text) for key, text in _rows(folder / "queries", TEXTS)],
        qrels={"test": [Judgment(q, p, 1) for q, p in _rows(folder / "qrels", JUDGED)]},
        source={"folder": folder.name},
    )


def _rows(folder: Path, columns: list[str]) -> Iterator[tuple[str, ...]]:
    """The columns of all files, as strings; one block is in memory at a time."""
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise InputError(f"{folder}: no Parquet file; give nanobeir:FOLDER with corpus/, queries/")
    for path in files:
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                for block in file.iter_batches(columns=columns):
                    if block.schema.names != columns:
                        raise InputError(f"{path}: columns {block.schema.names}, not {columns}")
                    for row in zip(*(column.to_pylist() for column in block.columns), strict=True):
                        if None in row:
                            missing = columns[row.index(None)]
                            raise InputError(f"{path}: a row without {missing!r}: {row}")
                        yield tuple(map(str, row))
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"{path}: cannot be read ({error})") from None
