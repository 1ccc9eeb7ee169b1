"""`nanobeir:FOLDER`: a collection in the layout of NanoBEIR's data sets, in Parquet files.

corpus/*.parquet    _id, text
queries/*.parquet   _id, text
qrels/*.parquet     query-id, corpus-id
"""

from collections.abc import Iterator
from pathlib import Path

from dpr.base.errors import InputError
from dpr.records.lines import read_parquet
from dpr.records.types import Judgment, Passage, Query
from dpr.sources.types import Collection, Request

TEXTS, JUDGED = ["_id", "text"], ["query-id", "corpus-id"]


def collection(request: Request) -> Collection:
    folder = Path(request.location)
    return Collection(
        passages=(Passage(key, "", text) for key, text in _rows(folder / "corpus", TEXTS)),
        queries=[Query(key, text) for key, text in _rows(folder / "queries", TEXTS)],
        qrels={"test": [Judgment(q, p, 1) for q, p in _rows(folder / "qrels", JUDGED)]},
        description={"folder": folder.name},
    )


def _rows(folder: Path, columns: list[str]) -> Iterator[list[str]]:
    """The columns of all files, as strings."""
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise InputError(
            f"{folder}: no Parquet file; give nanobeir:FOLDER with corpus/, queries/ and qrels/"
        )
    for path in files:
        for where, row in read_parquet(path, columns):
            for column in columns:
                if row.get(column) is None:
                    raise InputError(f"{where}: no {column!r}; the columns must be {columns}")
            yield [str(row[column]) for column in columns]
