"""Passages by id: one reading of the file finds where each lies; the file itself stays on disk."""

import json
from array import array
from pathlib import Path

import numpy as np

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.ids import IdRows, digests
from dpr.records.types import Passage


class Lookup:
    """The passages of a folder that a stage wrote, in 20 bytes of memory each.

    Raises:
        InputError: as `beir.read_passages`.
    """

    def __init__(self, folder: Path):
        self.file = folder / beir.PASSAGES
        self.rows = IdRows(digests(passage.id for passage in beir.read_passages(folder)))
        starts, at = array("Q"), 0
        with self.file.open("rb") as file:
            for line in file:
                starts.append(at)
                at += len(line)
        self.starts = np.frombuffer(starts, np.uint64)

    def __getitem__(self, passage_id: str) -> Passage:
        (row,) = self.rows.of(digests([passage_id]))
        if row < 0:
            raise InputError(f"{self.file}: no passage {passage_id!r}; search again: `dvc repro`")
        with self.file.open("rb") as file:
            file.seek(int(self.starts[row]))
            about = json.loads(file.readline())
        return Passage(passage_id, about.get("title", ""), about["text"])
