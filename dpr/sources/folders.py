"""Tables in folders: their names, their shards, and which of several is meant."""

import re
from collections.abc import Iterable
from pathlib import Path

from dpr.base.errors import InputError
from dpr.sources.tables import CURE, FORMATS, format_of

# What `datasets` writes beside its tables.
_NO_TABLES = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json")

_SHARD = re.compile(r"(.*?)[-_.]?\d+-of-(\d+)")
_NUMBERED = re.compile(r"(?:(.*)[-_.])?(\d{4,})")


def find_tables(folder: Path, numbered: bool = True) -> dict[str, list[Path]]:
    """The tables in a folder, as `grouped`; none if there is no such folder."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    files = (path for path in paths if format_of(path) in FORMATS and path.is_file())
    return grouped((path for path in files if path.name not in _NO_TABLES), numbered)


def grouped(paths: Iterable[Path], numbered: bool = True) -> dict[str, list[Path]]:
    """The files of each table, by its name without suffix and shard number.

    "train-00001-of-00003" is a shard of "train". Files that are numbered from 0 or 1 without a gap
    are shards, too: "part-0000" and "part-0001" of "part". But 2019 and 2020 are two tables.

    Args:
        paths: in order, which shards keep.
        numbered: whether numbers without "-of-" may be those of shards.
    """
    tables: dict[str, list[Path]] = {}
    series: dict[str, list[tuple[int, Path]]] = {}
    for path in paths:
        if match := _SHARD.fullmatch(_stem(path)):
            tables.setdefault(match[1], []).append(path)
        elif numbered and (match := _NUMBERED.fullmatch(_stem(path))):
            series.setdefault(match[1] or "", []).append((int(match[2]), path))
        else:
            tables.setdefault(_stem(path), []).append(path)
    for name, files in series.items():
        numbers = list(dict.fromkeys(number for number, _ in files))
        in_order = numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[-1] + 1))
        for _, path in files:
            tables.setdefault(name if in_order else _stem(path), []).append(path)
    return tables


def unread(folder: Path, name: str = "*") -> str:
    """For an error: the files of this name in a folder that no format reads; "" for none."""
    paths = sorted(folder.glob(f"{name}.*"))
    found = [path.name for path in paths if format_of(path) not in FORMATS]
    return f"; {', '.join(found[:3])} cannot be read: {CURE}" if found else ""


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".zst")[: -len(format_of(path))]


def whole(paths: list[Path]) -> list[Path]:
    """The files of one table. A plain file goes before its compressed copy.

    Raises:
        InputError: for a missing shard, and for files that may be the same rows twice.
    """
    files: dict[str, Path] = {}
    for path in paths:  # sorted: a plain file comes first
        if format_of(files.setdefault(_stem(path), path)) != format_of(path):
            raise InputError(f"{path}: {files[_stem(path)].name} has the same name; keep one")
    counts = {_count(stem) for stem in files}
    if len(files) > 1 and (len(counts) > 1 or None in counts):
        names = ", ".join(path.name for path in files.values())
        raise InputError(f"{paths[0].parent}: more than one version of a table: {names}; keep one")
    if (count := counts.pop()) and len(files) != count:
        raise InputError(f"{paths[0].parent}: {len(files)} of {count} shards: fetch the rest")
    return list(files.values())


def _count(stem: str) -> int | None:
    """The number of shards that a name states; 0 for a number alone, None for no shard."""
    if match := _SHARD.fullmatch(stem):
        return int(match[2])
    return 0 if _NUMBERED.fullmatch(stem) else None


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
