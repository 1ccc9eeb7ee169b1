"""Ids on disk and as a set, against Python's own."""

import numpy as np
import pytest

from dpr.base.errors import InputError
from dpr.records import ids as module
from dpr.records.ids import IdHashes, Ids, write_ids

NAMES = ["d1", "007", "é", "x" * 300, "a\u2028b", "last"]


@pytest.mark.parametrize("at_once", [1, 2, 6, 100])
def test_ids_are_read_as_they_were_written(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    write_ids(tmp_path, iter(NAMES), len(NAMES))
    found = Ids.open(tmp_path)
    assert (tmp_path / "ids.txt").read_text(encoding="utf-8").split("\n") == [*NAMES, ""]
    assert list(found) == NAMES and len(found) == 6
    assert [found[row] for row in (0, 3, 4, -1)] == ["d1", "x" * 300, "a\u2028b", "last"]
    assert found[np.int64(2)] == "é" and found[1:4] == NAMES[1:4] and found[::-2] == NAMES[::-2]
    with pytest.raises(IndexError):
        found[6]


@pytest.mark.parametrize("file", ["ids.txt", "ids.npy"])
@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: None, lambda data: b""])
def test_damaged_ids_are_refused(tmp_path, file, damage):
    write_ids(tmp_path, NAMES, len(NAMES))
    data = damage((tmp_path / file).read_bytes())
    (tmp_path / file).unlink()
    if data is not None:
        (tmp_path / file).write_bytes(data)
    with pytest.raises(InputError, match="make it again"):
        Ids.open(tmp_path)


def test_an_id_set_is_a_set():
    names = [f"id-{n}" for n in np.random.default_rng(0).integers(0, 5000, size=4000)]
    ids, reference = IdHashes(), set(names)
    for name in names:
        ids.add(name)
    every = {f"id-{n}" for n in range(5000)}
    assert {name for name in every if name in ids} == reference
    repeated = {name for name in reference if names.count(name) > 1}
    assert {name for name in every if name in ids.duplicates()} == repeated
    assert (len(ids), ids.distinct()) == (len(names), len(reference))
