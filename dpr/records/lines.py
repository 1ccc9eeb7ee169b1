"""Lines of text files, plain or gzipped, with errors that name file and line."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from dpr.base.errors import InputError

LONGEST = 16 * 2**20  # bytes; a longer line means a broken file


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines, numbered from 1, without line ends and byte order mark.

    Raises:
        InputError: for a file that is missing, empty, truncated (gzip) or not UTF-8, for a line
            longer than `LONGEST` bytes, and for lines that end in CR alone.
    """
    path, number = existing(path), 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(LONGEST + 1):
                number += 1
                yield number, _decode(f"{path}:{number}", line, first=number == 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder; a file is needed") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: damaged gzip after line {number} ({error}); fetch the file again"
        ) from None
    if number == 0:
        raise InputError(f"{path}: empty; it needs at least one line")


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
