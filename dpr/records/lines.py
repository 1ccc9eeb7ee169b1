"""Rows of text and JSON files, plain or compressed, and of Parquet; errors name file and row."""

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from dpr.base.errors import InputError
from dpr.base.files import new_file

LONGEST = 16 * 2**20  # bytes; a longer line means a broken file
ROWS_AT_ONCE, BUFFER = 1_000, 2**20  # rows and bytes of Parquet that are read at a time


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """("FILE:LINE", line), without line ends and byte order mark.

    For CSV, whose rows may have several lines, call `dpr.sources.tables.read_csv`.

    Raises:
        InputError: for a file that is empty or not UTF-8, for a line of more than `LONGEST` bytes,
            for a CR within a line, and errors of `opened`.
    """
    path, number = existing(path), 0
    with opened(path) as file:
        while line := file.readline(LONGEST + 1):
            number += 1
            where = f"{path}:{number}"
            yield where, _decode(where, line, first=number == 1)
    if number == 0:
        raise InputError(f"{path}: empty; it needs at least one line")


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed if its name ends with .gz or .zst.

    Raises:
        InputError: for a file that is missing or a folder, or that is damaged or truncated.
    """
    try:
        with _decompressed(path) as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder; a file is needed") from None
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk; damage has no number
        kind = path.suffix.lstrip(".")
        raise InputError(f"{path}: damaged {kind} ({error}); fetch the file again") from None


def _decompressed(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path))
    if path.suffix == ".zst":
        import pyarrow  # loads slowly

        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def existing(path: Path) -> Path:
    """The path, or the same with `.gz` if only that exists."""
    zipped = path.with_name(path.name + ".gz")
    return zipped if zipped.exists() and not path.exists() else path


def _decode(where: str, line: bytes, first: bool) -> str:
    if len(line) > LONGEST:
        raise InputError(f"{where}: a line of more than {LONGEST:,} bytes; is it the right file?")
    try:
        text = line.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 ({error}); convert the file first") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if "\r" in text:
        raise InputError(f"{where}: a CR within the line; convert line ends to LF first")
    return text


def read_jsonl(
    path: Path, wanted: Callable[[int], bool] = lambda row: True
) -> Iterator[tuple[str, dict[str, Any]]]:
    """("FILE:LINE", object) of each line whose row, numbered from 0, is wanted.

    Raises:
        InputError: naming file and line, for a line that is not a JSON object.
    """
    for number, (where, line) in enumerate(read_lines(path)):
        if not wanted(number):
            continue
        yield where, parse_object(where, line)


def parse_object(where: str, line: str) -> dict[str, Any]:
    """The JSON object of a line; InputError if it is none."""
    try:
        row = json.loads(line)
        if "\\ud" in line.lower():  # a lone surrogate is invalid
            json.dumps(row, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not a line of JSON ({error})") from None
    if not isinstance(row, dict):
        raise InputError(f"{where}: must be a JSON object, not {line[:40]!r}")
    return row


def read_parquet(
    path: Path, columns: list[str] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """("FILE: row N", {column: value}) of each row, from 1, without columns that it lacks.

    Raises:
        InputError: for a file that is missing or damaged.
    """
    import pyarrow.parquet  # loads slowly

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file:
            for block in file.iter_batches(ROWS_AT_ONCE, columns=columns):
                for row in block.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", row
    except (OSError, ValueError, pyarrow.ArrowException) as error:  # also text that is not UTF-8
        raise parquet_error(path, error) from None


def parquet_error(path: Path, error: Exception) -> InputError:
    """Of a damaged file; the library's message may have several lines."""
    return InputError(f"{path}: cannot be read as Parquet ({' '.join(str(error).split())})")


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """One object per line, through `new_file`."""
    with new_file(path) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def text_of(where: str, row: dict[str, Any], key: str, default: str | None = None) -> str:
    """The text of a key; InputError if it has none."""
    value = row.get(key, default)
    if not isinstance(value, str):
        raise InputError(f"{where}: {key!r} must be text, not {value!r}")
    return value


def id_of(where: str, row: dict[str, Any], key: str) -> str:
    """The id of a key: text without white space, which separates the columns of a TREC run."""
    value = text_of(where, row, key)
    if not value or value.split() != [value]:
        raise InputError(f"{where}: {key!r} must be an id without white space, not {value!r}")
    return value
