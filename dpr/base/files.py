"""Files and folders that are complete or absent, and their fingerprints."""

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from dpr.base.errors import InputError


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add a note with the path to any error of the block."""
    try:
        yield
    except Exception as error:
        error.add_note(f"while writing {path}")
        raise


@contextmanager
def new_file(path: str | Path) -> Iterator[TextIO]:
    """Write a UTF-8 text file, which gets its name only if the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with naming(path), partial.open("w", encoding="utf-8", newline="\n") as file:
        yield file
    partial.replace(path)


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Fill a folder, which gets its name and replaces an older one only if no error occurs."""
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
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder in `parent`, which any process may create."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a finished file, which takes no space, or copy it across file systems.

    At most two names share a file, so that damage to one output spares the others.
    """
    if source.stat().st_nlink == 1:
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON with sorted keys and a final newline: equal values give equal bytes."""
    with new_file(path) as file:
        json.dump(value, file, indent=2, sort_keys=True, ensure_ascii=False)
        file.write("\n")


def read_json(path: str | Path) -> Any:
    """The value of a JSON file. Raises InputError if the file is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that makes it") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); remove it and make it again") from None


def read_manifest(path: Path, keys: dict[str, Any], cure: str) -> dict[str, Any]:
    """A JSON object that has these keys, with values of these types (`int`, `str | None`, ...).

    Raises:
        InputError: for a file that is missing or damaged; it ends with `cure`.
    """
    manifest = read_json(path)
    if not isinstance(manifest, dict):
        raise InputError(f"{path}: damaged; {cure}")
    for key, kind in keys.items():
        value = manifest.get(key)
        is_bool = kind is int and isinstance(value, bool)  # True is an int to Python
        if key not in manifest or not isinstance(value, kind) or is_bool:
            raise InputError(f"{path}: {key!r} is missing or damaged; {cure}")
    return manifest


def memory_map(path: Path, cure: str) -> np.ndarray:
    """The memory-mapped array of a .npy file. Raises InputError if it is missing or damaged."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy parses the header as Python, which may raise anything
        raise InputError(f"{path}: cannot be read ({error}); {cure}") from None


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a header and rows, with LF line ends."""
    with new_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file, which is read in blocks."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(paths: Iterable[Path]) -> str:
    """One SHA-256 over the names and bytes of these files and of all files in these folders."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(f"{file.name} {sha256(file)}\n".encode())
    return digest.hexdigest()
