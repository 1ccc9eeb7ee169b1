"""Files of one JSON object a line; an error names file and line."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.base.files import new_file
from dpr.records.lines import read_lines


def read_jsonl(
    path: Path, wanted: Callable[[int], bool] = lambda row: True
) -> Iterator[tuple[str, dict[str, Any]]]:
    """("FILE:LINE", object) of each line whose row, from 0, is wanted.

    Raises:
        InputError: naming file and line, for a line that is no JSON object.
    """
    for number, line in read_lines(path):
        if not wanted(number - 1):
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
            if "\\ud" in line.lower():  # half a pair of them is no character
                json.dumps(row, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not a line of JSON ({error})") from None
        if not isinstance(row, dict):
            raise InputError(f"{where}: must be a JSON object, not {line[:40]!r}")
        yield where, row


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """One object a line; the file is there when it is whole."""
    with new_file(path) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def text_of(where: str, row: dict[str, Any], key: str, default: str | None = None) -> str:
    """The text of a key, or InputError naming file and line."""
    value = row.get(key, default)
    if not isinstance(value, str):
        raise InputError(f"{where}: {key!r} must be text, not {value!r}")
    return value


def id_of(where: str, row: dict[str, Any], key: str) -> str:
    """The id of a key: text without white space, which a TREC run has between its columns."""
    value = text_of(where, row, key)
    if not value or value.split() != [value]:
        raise InputError(f"{where}: {key!r} must be an id without white space, not {value!r}")
    return value
