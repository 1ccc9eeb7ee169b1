"""Rows of users' tables: JSON lines, a JSON array, CSV, TSV and Parquet.

The suffix decides the format; a file with .gz or .zst after it is decompressed.

    .jsonl .json   objects, one a line; a .json file may be an array
    .csv           commas, and quotes around cells that have commas, quotes or line ends in them
    .tsv .txt ...  tabs, no quotes
    .parquet       read in blocks

`dpr.sources.columns` says what the columns mean, `dpr.sources.folders` which files are a table.
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

CURE = "unpack it (a sheet of Excel: save it as `CSV UTF-8`)"
LFS = b"version https://git-lfs.github.com/spec/"

QUOTED = 100  # rows with quotes, after which the others are not looked at
_CSV_CELL = re.compile(r'"[^"]*(?:""[^"]*)*"')

Row = tuple[str, dict[str, Any]]  # ("FILE:LINE" or "FILE: row N", {column: value})


def read_rows(files: Iterable[Path], reading: Reading) -> Iterator[Row]:
    """The rows of all files, in order.

    Args:
        reading: its kind finds the header of CSV and TSV files, or names their columns.
    Raises:
        InputError: naming file and line or row, for what cannot be read, for a blank line between
            others, for rows of different length, and for a file that changes while it is read;
            and errors of `require_table`.
    """
    for path in map(existing, files):
        require_table(path)
        size = path.stat().st_size if path.exists() else None
        yield from _read(path, reading)
        if path.stat().st_size != size:
            raise InputError(f"{path}: has changed while it was read; wait until it is complete")


def require_table(path: Path) -> None:
    """InputError for a format that is not read, and for a Git LFS pointer in place of a file.

    A file without suffix has tabs, as .txt.
    """
    form = format_of(path)
    if form and form not in FORMATS:
        raise InputError(f"{path}: must be {', '.join(FORMATS)}, not {form}; {CURE}")
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(LFS)) == LFS:
                raise InputError(f"{path}: a Git LFS pointer, not the file: call `git lfs pull`")


def _read(path: Path, reading: Reading) -> Iterator[Row]:
    form = format_of(path)
    if form == ".parquet":
        return read_parquet(path, reading.wanted(_parquet_columns(path)))
    if form == ".json" and _is_array(path):
        return _read_array(path)
    if form in (".jsonl", ".json"):
        lines = _without_blank_end(read_lines(path), reading)
        return ((where, _object(where, line)) for where, line in lines)
    cells = read_csv(path) if form == ".csv" else _unquoted(_split_lines(path, reading.kind))
    return _named(_without_blank_end(cells, reading), reading)


def _object(where: str, line: str) -> dict[str, Any]:
    if line.strip() == "{":
        raise InputError(f"{where}: an object over several lines; write one a line, or an array")
    return parse_object(where, line)


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


def _unquoted(rows: Iterator[tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
    """The rows; InputError if their cells are quoted as in CSV.

    They are if all cells with a quote begin and end with one and double those between, as pandas
    writes them. One honest quote shows that they are not.
    """
    quoted, doubled, count, where = 0, False, 0, ""
    for where, cells in rows:
        found = [cell for cell in cells if '"' in cell] if quoted < QUOTED else []
        if not all(map(_CSV_CELL.fullmatch, found)):
            yield where, cells
            yield from rows
            return
        count += bool(cells)
        quoted += bool(found)
        doubled = doubled or any('""' in cell[1:-1] for cell in found)
        if quoted == QUOTED and (doubled or count == QUOTED):
            break
        yield where, cells
    if quoted and (doubled or quoted == count):
        raise InputError(
            f"{where}: the cells up to here are quoted as in CSV, but .tsv has no quotes; write "
            "JSON lines or Parquet (pandas.read_csv(FILE, sep='\\t') reads the file), or .csv"
        )


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


def _named(rows: Iterator[tuple[str, list[str]]], reading: Reading) -> Iterator[Row]:
    """Rows of cells -> rows of columns, which a header names or, without one, their number."""
    kind = reading.kind
    for line, first in itertools.islice(rows, 1):
        if first[0].startswith("sep="):
            raise InputError(f"{line}: this line is for Excel; remove it")
        header = kind.header(line, first)
        if header and header != first:
            pairs = zip(first, header, strict=True)
            read = (f"{name!r} is taken as {key!r}" for name, key in pairs if name != key)
            reading.taken.add(f"header: {', '.join(read)}")
        names = header or kind.positions(line, first)
        for where, cells in rows if header else itertools.chain([(line, first)], rows):
            if len(cells) != len(names):
                cure = f"the header has {len(names)}" if header else kind.without_header
                if not any(cells[len(names) :]) and len(cells) > len(names):
                    cure += "; remove the separators at the end"
                raise InputError(f"{where}: {len(cells)} columns; {cure}")
            yield where, dict(zip(names, cells, strict=True))
