"""Rows of users' tables: JSON lines, a JSON array, CSV, TSV and Parquet.

The suffix decides the format; a file with .gz or .zst after it is decompressed.

    .jsonl .json   objects, one a line; a .json file may be an array
    .csv           commas, and quotes around cells that have commas, quotes or line ends in them
    .tsv .txt ...  tabs, no quotes
    .parquet       read in blocks

`dpr.sources.columns` says what the columns mean. A table of several files has them in a folder,
named NAME-00000-of-00003 and so on.
"""

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.records.lines import (
    LONGEST,
    existing,
    opened,
    parquet_error,
    parse_object,
    read_lines,
    read_parquet,
)
from dpr.sources.columns import Kind
from dpr.sources.reading import Reading

FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet")
ARRAY = 64 * 2**20  # bytes of a JSON array, which is read whole

# What `datasets` writes beside its tables.
_NO_TABLES = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json")

Row = tuple[str, dict[str, Any]]  # ("FILE:LINE" or "FILE: row N", {column: value})

# "train-00001-of-00003", "part-00001" and "0001" are shards of "train", "part" and "".
_SHARD = re.compile(r"(.*?)[-_.]?(\d+)-of-(\d+)|(.*)[-_.]\d{5,}|\d+")


def read_rows(files: Iterable[Path], reading: Reading) -> Iterator[Row]:
    """The rows of all files, in order.

    Args:
        reading: its kind finds the header of CSV and TSV files, or names their columns.
    Raises:
        InputError: naming file and line or row, for what cannot be read, for a blank line between
            others, for rows of different length, and for a file that changes while it is read.
    """
    for path in map(existing, files):
        size = path.stat().st_size if path.exists() else None
        yield from _read(path, reading)
        if path.stat().st_size != size:
            raise InputError(f"{path}: has changed while it was read; wait until it is complete")


def _read(path: Path, reading: Reading) -> Iterator[Row]:
    form = format_of(path)
    if form == ".parquet":
        return read_parquet(path, reading.wanted(_parquet_columns(path)))
    if form == ".json" and _is_array(path):
        return _read_array(path)
    if form in (".jsonl", ".json"):
        lines = _without_blank_end(read_lines(path), reading)
        return ((where, parse_object(where, line)) for where, line in lines)
    cells = read_csv(path) if form == ".csv" else _split_lines(path, reading.kind)
    return _named(_without_blank_end(cells, reading), reading.kind)


def format_of(path: Path) -> str:
    """The suffix before .gz and .zst."""
    return Path(path.name.removesuffix(".gz").removesuffix(".zst")).suffix.lower()


def _parquet_columns(path: Path) -> list[str]:
    import pyarrow.parquet  # loads slowly

    try:
        return list(pyarrow.parquet.read_schema(path).names)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise parquet_error(path, error) from None


def _is_array(path: Path) -> bool:
    with opened(path) as file:
        return file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _read_array(path: Path) -> Iterator[Row]:
    with opened(path) as file:
        content = file.read(ARRAY + 1)
    if len(content) > ARRAY:
        raise InputError(
            f"{path}: a JSON array of more than {ARRAY >> 20} MiB, which would have to be read "
            "whole; write JSON lines, one object a line"
        )
    try:
        rows = json.loads(content.decode("utf-8-sig"))
        if b"\\ud" in content.lower():  # a lone surrogate is invalid
            json.dumps(rows, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON array ({error})") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise InputError(f"{path}: row {number}: must be a JSON object, not {str(row)[:40]!r}")
        yield f"{path}: row {number}", row


def read_csv(path: Path) -> Iterator[tuple[str, list[str]]]:
    """("FILE:LINE", cells) of each row of a CSV file; its line is its last.

    A quoted cell may have line ends in it, so a row may have several lines.

    Raises:
        InputError: naming file and line, for bad quotes, and errors of `read_lines`.
    """
    path = existing(path)
    csv.field_size_limit(LONGEST)
    rows = csv.reader((f"{line}\n" for _, line in read_lines(path)), strict=True)
    try:
        for cells in rows:
            yield f"{path}:{rows.line_num}", cells
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: not CSV ({error})") from None


def _split_lines(path: Path, kind: Kind) -> Iterator[tuple[str, list[str]]]:
    for where, line in read_lines(path):
        if kind.white_space and "\t" not in line:
            yield where, line.split()
        else:
            yield where, line.split("\t") if line.strip(" ") else []


def _without_blank_end(rows: Iterator[Any], reading: Reading) -> Iterator[Any]:
    """The rows without blank ones at the end; InputError for a blank one between others."""
    blank = ""
    for where, row in rows:
        if not (row.strip() if isinstance(row, str) else row):
            blank = blank or where
        elif blank:
            raise InputError(f"{blank}: a blank line between others; remove it")
        else:
            yield where, row
    reading.repaired["blank last lines"] += bool(blank)


def _named(rows: Iterator[tuple[str, list[str]]], kind: Kind) -> Iterator[Row]:
    """Rows of cells -> rows of columns, which a header names or, without one, their number."""
    for line, first in itertools.islice(rows, 1):
        header = kind.header(line, first)
        names = header or kind.positions(line, first)
        for where, cells in rows if header else itertools.chain([(line, first)], rows):
            if len(cells) != len(names):
                cure = f"the header has {len(names)}" if header else kind.without_header
                raise InputError(f"{where}: {len(cells)} columns; {cure}")
            yield where, dict(zip(names, cells, strict=True))


def find_tables(folder: Path) -> dict[str, list[Path]]:
    """The tables in a folder by name, without suffix and shard number; shards are in order."""
    tables: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        if format_of(path) in FORMATS and path.is_file() and path.name not in _NO_TABLES:
            tables.setdefault(table_name(path), []).append(path)
    return tables


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".zst")[: -len(format_of(path))]


def table_name(path: Path) -> str:
    """The name of the table that a file is, or is a shard of."""
    match = _SHARD.fullmatch(_stem(path))
    return (match[1] or match[4] or "") if match else _stem(path)


def whole(paths: list[Path]) -> list[Path]:
    """The files of one table. A plain file goes before its compressed copy.

    Raises:
        InputError: for a missing shard, and for files that may be the same rows twice.
    """
    files: dict[str, Path] = {}
    for path in paths:  # sorted: a plain file comes first
        if format_of(files.setdefault(_stem(path), path)) != format_of(path):
            raise InputError(f"{path}: {files[_stem(path)].name} has the same name; keep one")
    shards = [_SHARD.fullmatch(stem) for stem in files]
    counts = {shard[3] if shard else None for shard in shards}
    if len(files) > 1 and (len(counts) > 1 or None in shards):
        names = ", ".join(path.name for path in files.values())
        raise InputError(f"{paths[0].parent}: more than one version of a table: {names}; keep one")
    if (count := counts.pop()) and len(files) != int(count):
        raise InputError(f"{paths[0].parent}: {len(files)} of {int(count)} shards: fetch the rest")
    return list(files.values())


def chosen(
    tables: dict[str, list[Path]], name: str | None, where: str, usual: str = ""
) -> list[Path]:
    """The files of the table `name`; without a name, of the only table or of the `usual` one.

    Raises:
        InputError: that lists the tables, if there is no such table or no telling which.
    """
    if not tables:
        raise InputError(f"{where}: no table in this folder; it needs {', '.join(FORMATS)}")
    if name is None:
        name = next(iter(tables)) if len(tables) == 1 else usual
    if name not in tables:
        names = ", ".join(sorted(tables))
        raise InputError(f"{where}: choose one of these by {where}#NAME: {names}")
    return whole(tables[name])


def parted(location: str) -> tuple[str, str]:
    """PLACE#NAME -> (PLACE, NAME); NAME is "" if there is none, or if such a path exists."""
    place, _, name = location.rpartition("#")
    return (location, "") if not place or Path(location).exists() else (place, name)


def refuse_missing(path: Path, what: str) -> None:
    """InputError if a user's file or folder is not there; it says where it was looked for."""
    if not path.exists():
        raise InputError(
            f"{path}: no such {what}: there is no {path.absolute()}. A queued experiment runs in a "
            "copy of the repository: use an absolute path"
        )
