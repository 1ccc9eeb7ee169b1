"""`nanobeir:FOLDER`: a collection in the layout of NanoBEIR's data sets, in Parquet files.

corpus/*.parquet    _id, text
queries/*.parquet   _id, text
qrels/*.parquet     query-id, corpus-id
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet

from dpr.base.errors import InputError
from dpr.records.types import Judgment, Passage, Query
from dpr.sources.types import Collection

TEXTS, JUDGED = ["_id", "text"], ["query-id", "corpus-id"]


def collection(folder: Path) -> Collection:
    """Raises InputError for a folder, file or column that is missing or cannot be read."""
    return Collection(
        passages=(Passage(key, "", text) for key, text in _rows(folder / "corpus", TEXTS)),
        queries=[Query(key, text) for key, text in _rows(folder / "queries", TEXTS)],
        qrels={"test": [Judgment(q, p, 1) for q, p in _rows(folder / "qrels", JUDGED)]},
        source={"folder": folder.name},
    )


def _rows(folder: Path, columns: list[str]) -> Iterator[tuple[str, ...]]:
    """The columns of all files, as strings, a block in memory at a time."""
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise InputError(f"{folder}: no Parquet file; give nanobeir:FOLDER with corpus/, queries/")
    for path in files:
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                for block in file.iter_batches(columns=columns):
                    yield from _as_text(path, block, columns)
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"{path}: cannot be read ({error})") from None


def _as_text(path: Path, block: Any, columns: list[str]) -> Iterator[tuple[str, ...]]:
    if block.schema.names != columns:
        raise InputError(f"{path}: columns {block.schema.names}, not {columns}")
    for row in zip(*(block.column(name).to_pylist() for name in columns), strict=True):
        if None in row:
            raise InputError(f"{path}: a row without {columns[row.index(None)]!r}: {row}")
        yield tuple(map(str, row))
