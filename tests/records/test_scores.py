"""A teacher's file: two layouts, two formats, and what is refused."""

import json
import math

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from helpers import jsonl

from dpr.base.errors import InputError
from dpr.records.scores import read_scores, write_scores

SCORES = {"q1": {"d1": 0.9, "d7": -2.5}, "q2": {"d1": 3.0}}
PAIRS = [
    {"query_id": "q1", "passage_id": "d1", "score": 0.9},
    {"query_id": "q1", "passage_id": "d7", "score": -2.5},
    {"query_id": "q2", "passage_id": "d1", "score": 3},
]
LISTS = [
    {"query_id": "q1", "passage_ids": ["d1", "d7"], "scores": [0.9, -2.5]},
    {"query_id": "q2", "passage_ids": ["d1"], "scores": [3]},
]


def as_lines(path, rows):
    path.write_bytes(jsonl(*rows))


def as_parquet(path, rows):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def read(path):
    found = {}
    for _, query_id, passage_ids, scores in read_scores(path):
        found.setdefault(query_id, {}).update(zip(passage_ids, scores, strict=True))
    return found


@pytest.mark.parametrize(("name", "write"), [("s.jsonl", as_lines), ("s.parquet", as_parquet)])
@pytest.mark.parametrize("rows", [PAIRS, LISTS], ids=["pairs", "lists"])
def test_both_layouts_of_both_formats_give_the_same(tmp_path, name, write, rows):
    write(tmp_path / name, rows)
    assert read(tmp_path / name) == SCORES


def test_other_columns_and_number_types_of_parquet(tmp_path):
    table = {"query_id": ["q1"], "passage_id": ["d1"], "score": np.array([0.5], np.float32)}
    table = pyarrow.table(table | {"text": ["more"]})
    pyarrow.parquet.write_table(table, tmp_path / "s.parquet")
    assert read(tmp_path / "s.parquet") == {"q1": {"d1": 0.5}}


def test_what_is_written_is_read(tmp_path):
    scores = {"q1": {"d1": 1 / 3, "d2": -1e-9}, "ä": {"d1": 12345678.0}}
    write_scores(tmp_path / "s.jsonl", scores.items())
    found = read(tmp_path / "s.jsonl")
    assert found.keys() == scores.keys()
    for query_id, given in scores.items():
        assert list(found[query_id]) == list(given)
        assert found[query_id] == pytest.approx(given, rel=1e-5)
    rows = (tmp_path / "s.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(rows[1])["query_id"] == "ä"


def test_a_write_that_fails_leaves_no_file(tmp_path):
    def lists():
        yield "q1", {"d1": 1.0}
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        write_scores(tmp_path / "s.jsonl", lists())
    assert not (tmp_path / "s.jsonl").exists()


NOT_OF_THE_LAYOUT = [
    {"passage_id": "d1", "score": 1.0},
    {"query_id": 1, "passage_id": "d1", "score": 1.0},
    {"query_id": "q1", "score": 1.0},
    {"query_id": "q1", "passage_id": "d1"},
    {"query_id": "q1", "passage_id": "d1", "score": "high"},
    {"query_id": "q1", "passage_id": "d1", "score": True},
    {"query_id": "q1", "passage_id": "d1", "score": None},
    {"query_id": "q1", "passage_id": 7, "score": 1.0},
    {"query_id": "q1", "passage_ids": ["d1"]},
    {"query_id": "q1", "scores": [1.0]},
    {"query_id": "q1", "passage_ids": ["d1", "d7"], "scores": [1.0]},
    {"query_id": "q1", "passage_ids": [], "scores": []},
    {"query_id": "q1", "passage_ids": ["d1"], "scores": ["high"]},
    {"query_id": "q1", "passage_ids": ["d1"], "scores": [True]},
    {"query_id": "q1", "passage_ids": [7], "scores": [1.0]},
    {"query_id": "q1", "passage_ids": "d1", "scores": 1.0},
]
NOT_FINITE = [
    {"query_id": "q1", "passage_id": "d1", "score": math.nan},
    {"query_id": "q1", "passage_ids": ["d1", "d7"], "scores": [1.0, -math.inf]},
]
BAD = [(row, "a row must have") for row in NOT_OF_THE_LAYOUT]
BAD += [(row, "'q1' has a score that is not finite") for row in NOT_FINITE]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_a_malformed_line_is_named(tmp_path, row, message):
    as_lines(tmp_path / "s.jsonl", [*PAIRS, row])
    with pytest.raises(InputError, match=rf"s\.jsonl:4: .*{message}"):
        list(read_scores(tmp_path / "s.jsonl"))


@pytest.mark.parametrize(("row", "message"), BAD)
def test_a_malformed_row_of_parquet_is_named(tmp_path, row, message):
    as_parquet(tmp_path / "s.parquet", [row])
    with pytest.raises(InputError, match=rf"s\.parquet: row 1: .*{message}"):
        list(read_scores(tmp_path / "s.parquet"))


def test_a_later_row_of_parquet_is_named(tmp_path):
    bad = PAIRS[0] | {"score": math.inf}
    as_parquet(tmp_path / "s.parquet", [PAIRS[0]] * 10_001 + [bad])
    with pytest.raises(InputError, match=r"s\.parquet: row 10002: .*not finite"):
        list(read_scores(tmp_path / "s.parquet"))


def test_a_number_too_large_for_a_float(tmp_path):
    (tmp_path / "s.jsonl").write_text(
        '{"query_id": "q1", "passage_id": "d1", "score": 1' + "0" * 400 + "}\n"
    )
    with pytest.raises(InputError, match=r"s\.jsonl:1: .*not finite"):
        list(read_scores(tmp_path / "s.jsonl"))


@pytest.mark.parametrize("name", ["s.jsonl", "s.parquet"])
def test_a_missing_file(tmp_path, name):
    with pytest.raises(InputError, match=name):
        list(read_scores(tmp_path / name))


@pytest.mark.parametrize("kept", [0, 20, -20, "text"])
def test_a_damaged_file_of_parquet(tmp_path, kept):
    path = tmp_path / "s.parquet"
    as_parquet(path, PAIRS)
    whole = path.read_bytes()
    path.write_bytes(b"query_id\tpassage_id" if kept == "text" else whole[:kept])
    with pytest.raises(InputError, match=r"s\.parquet: cannot be read as Parquet"):
        list(read_scores(path))


def test_parquet_with_damaged_pages(tmp_path):
    """The footer is whole, what it points to is not."""
    path = tmp_path / "s.parquet"
    as_parquet(path, PAIRS)
    broken = bytearray(path.read_bytes())
    broken[4:60] = b"\xff" * 56
    path.write_bytes(broken)
    with pytest.raises(InputError, match=r"s\.parquet: "):
        list(read_scores(path))
