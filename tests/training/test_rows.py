"""Rows of different lengths in a file, ids as row numbers, and equal texts: small cases by hand."""

import numpy as np
import pytest

from dpr.records.ids import IdRows, among, digests, first_of_equals
from dpr.training.pairs import canonical_pairs
from dpr.training.texts import Ragged


def listed(ragged):
    return [ragged[row].tolist() for row in range(len(ragged))]


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.int64])
def test_rows_of_any_length_come_back(tmp_path, dtype):
    rows = [[3, 1, 2], [], [7], [], [], [5, 5]]
    written = Ragged.write(tmp_path / "rows", dtype, (np.array(row) for row in rows))
    assert listed(written) == listed(Ragged(tmp_path / "rows", dtype)) == rows
    assert written[0].dtype == dtype
    assert (tmp_path / "rows").stat().st_size == 6 * np.dtype(dtype).itemsize
    (tmp_path / "rows").unlink()  # a training may go on while its working folder is removed
    assert listed(written) == rows
    assert listed(Ragged.write(tmp_path / "none", dtype, [])) == []


def test_values_are_grouped_by_row_in_their_order(tmp_path):
    rows, values = np.array([2, 0, 2, 4, 0, 2]), np.array([9, 8, 7, 6, 5, 4])
    grouped = Ragged.group(tmp_path / "grouped", np.int32, 6, rows, values)
    assert listed(grouped) == [[8, 5], [], [9, 7, 4], [], [6], []]
    none = np.empty(0, np.int64)
    assert listed(Ragged.group(tmp_path / "none", np.int32, 3, none, none)) == [[], [], []]


def test_ids_have_the_rows_of_their_order():
    rows = IdRows(digests(["d", "a", "c", "b"]))
    of_ids = rows.of(digests(["a", "b", "x", "d", "a", "c", ""]))
    assert of_ids.tolist() == [1, 3, -1, 0, 1, 2, -1]
    assert of_ids.dtype == np.int32
    assert len(rows) == 4
    assert IdRows(digests(["b", "a", "b"])).of(digests(["b"])).tolist() == [0]  # the first
    assert IdRows(digests([])).of(digests(["a"])).tolist() == [-1]
    assert IdRows(digests(["a"])).of(digests([])).tolist() == []


def test_which_keys_are_wanted():
    wanted = np.unique(digests(["a", "b", "e"]))
    assert among(digests(["e", "c", "a", "z"]), wanted).tolist() == [True, False, True, False]
    largest = np.array([2**64 - 1, 0], np.uint64)
    assert among(largest, np.array([5], np.uint64)).tolist() == [False, False]
    assert among(digests(["a", "b"]), digests([])).tolist() == [False, False]


def test_equal_texts_have_the_first_row():
    assert first_of_equals(digests(["x", "y", "x", "z", "y", "x"])).tolist() == [0, 1, 0, 3, 1, 0]
    # Queries 0 and 2 are equal, and so are passages 1, 3 and 4.
    queries, passages = np.array([0, 1, 0, 3]), np.array([0, 1, 2, 1, 1])
    pairs = np.array([[2, 3], [1, 2], [0, 1], [0, 0]])
    firsts = canonical_pairs(pairs, queries, passages)
    assert firsts.tolist() == [[0, 0], [0, 1], [1, 2]]
    assert firsts.dtype == np.int32
    none = np.empty((0, 2), np.int32)
    assert canonical_pairs(none, queries, passages).tolist() == []
