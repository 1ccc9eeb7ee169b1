"""Files and folders that are whole or not there at all, and their fingerprints."""

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from dpr.base.errors import InputError


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An error while a file or folder is written gets a note that names it."""
    try:
        yield
    except Exception as error:
        error.add_note(f"while writing {path}")
        raise


@contextmanager
def new_file(path: str | Path) -> Iterator[TextIO]:
    """A UTF-8 text file that takes its name only if the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with naming(path), partial.open("w", encoding="utf-8", newline="\n") as file:
        yield file
    partial.replace(path)


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A folder that takes its name, and replaces an older one, only if the block ends well."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with naming(path):
            yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(path, ignore_errors=True)
    partial.replace(path)


@contextmanager
def folder_of_this_process(parent: Path) -> Iterator[Path]:
    """A new folder below `parent`, removed in the end. Any process may be the first there."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link, which takes no room, or a copy: of a file that is not written to any more.

    At most two names share a file: what damages an output shall not damage a second one. Across
    file systems there are no links.
    """
    if source.stat().st_nlink == 1:
        try:
            os.link(source, target)
            return
        except OSError:
            pass
    shutil.copyfile(source, target)


def write_json(path: str | Path, value: Any) -> None:
    """Sorted keys and a final newline: equal values are equal bytes."""
    with new_file(path) as file:
        json.dump(value, file, indent=2, sort_keys=True, ensure_ascii=False)
        file.write("\n")


def read_json(path: str | Path) -> Any:
    """Raises InputError for a file that is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that makes it") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); remove it and make it again") from None


def read_manifest(path: Path, keys: dict[str, Any], cure: str) -> dict[str, Any]:
    """A JSON object with at least these keys, each of its type or one of some (`str | None`).

    Raises:
        InputError: for a file that is missing or damaged; `cure` says what to do then.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path}: damaged; {cure}")
    for key, kind in keys.items():
        value = found.get(key)
        number_expected = kind is int and isinstance(value, bool)  # True is an int to Python
        if key not in found or not isinstance(value, kind) or number_expected:
            raise InputError(f"{path}: {key!r} is missing or damaged; {cure}")
    return found


def memory_map(path: Path, cure: str) -> np.ndarray:
    """The array of a .npy file, read when it is used; InputError if it is missing or damaged."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy parses the header as Python, which may raise anything
        raise InputError(f"{path}: cannot be read ({error}); {cure}") from None


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A header and its rows, with LF line ends."""
    with new_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(paths: Iterable[Path]) -> str:
    """One SHA-256 over the names and bytes of files, and of all files in folders."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(f"{file.name} {sha256(file)}\n".encode())
    return digest.hexdigest()
