"""Files that are either whole or not there, and their fingerprints."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from dpr.errors import InputError


@contextmanager
def new_file(path: str | Path) -> Iterator[IO[str]]:
    """A UTF-8 text file that takes its name only when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        yield file
    partial.replace(path)


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A folder that takes its name, in place of an older one, only when the block ends well."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(path, ignore_errors=True)
    partial.replace(path)


def write_json(path: str | Path, value: Any) -> None:
    """Sorted keys and a final newline: the same value is always the same bytes."""
    with new_file(path) as file:
        json.dump(value, file, indent=2, sort_keys=True, ensure_ascii=False)
        file.write("\n")


def read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that makes it") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); remove it and make it again") from None


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
