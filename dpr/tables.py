"""Small tables for plots."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from dpr.files import new_file


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    with new_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
