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
from pydantic import ValidationError, create_model

from dpr.base.errors import InputError


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A temporary path, which is renamed to `path` if the block ends without an error.

    An error gets a note that names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
    except Exception as error:
        error.add_note(f"while writing {path}")
        raise
    partial.replace(path)


@contextmanager
def new_file(path: str | Path) -> Iterator[TextIO]:
    """Write a UTF-8 text file. If the block fails, an older file with this name stays."""
    with (
        unfinished(Path(path)) as partial,
        partial.open("w", encoding="utf-8", newline="\n") as file,
    ):
        yield file


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Fill a folder. If the block fails, an older folder with this name stays."""
    path = Path(path)
    with unfinished(path) as partial:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder in `parent` that the block alone uses; several processes may call this at once."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a finished file, which takes no space; copy it if it cannot be linked.

    At most two paths share a file, so a damaged output damages at most one more.
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
    """A JSON object with these keys and types (`int`, `str | None`, ...). More keys are allowed.

    Raises:
        InputError: if the file is missing or damaged. The message ends with `cure`.
    """
    manifest = read_json(path)
    fields: dict[str, Any] = {key: (kind, ...) for key, kind in keys.items()}
    try:
        create_model("Manifest", **fields).model_validate(manifest, strict=True)
    except ValidationError as error:
        raise InputError(f"{path}: {first_key(error)} is missing or damaged; {cure}") from None
    return dict(manifest)


def first_key(error: ValidationError) -> str:
    """The first key that pydantic refuses, in quotes; "the object" if the value has no keys."""
    location = error.errors()[0]["loc"]
    return repr(location[0]) if location else "the object"


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
    """Hexadecimal SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(paths: Iterable[Path]) -> str:
    """One SHA-256 over the names and bytes of files, including files in folders."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(f"{file.name} {sha256(file)}\n".encode())
    return digest.hexdigest()
