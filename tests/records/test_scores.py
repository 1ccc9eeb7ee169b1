"""A teacher's file: two layouts, two formats, and what is refused."""

import json
import math

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
    {"query_id": "q2", "passage_id": "d1", "score": 3, "text": "is ignored"},
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


PAIR, LIST = PAIRS[0], LISTS[0]
BAD = [
    {"passage_id": "d1", "score": 1.0},
    {"query_id": "q1", "score": 1.0},
    {"query_id": "q1", "passage_id": "d1"},
    {"query_id": "q1", "scores": [1.0]},
    *[PAIR | change for change in ({"query_id": 1}, {"passage_id": 7})],
    *[PAIR | {"score": score} for score in ("high", True, None)],
    *[LIST | {"scores": scores} for scores in ([1.0], ["high", 1], [True, 1], None)],
    *[LIST | {"passage_ids": ids} for ids in ([], ["d1"], ["d1", 7], "d1")],
]
NOT_FINITE = [PAIR | {"score": math.nan}, LIST | {"scores": [1.0, -math.inf]}]


@pytest.mark.parametrize(
    ("rows", "message"), [(BAD, "a row must have"), (NOT_FINITE, "not finite")]
)
def test_a_malformed_row_is_named(tmp_path, rows, message):
    for number, row in enumerate(rows):
        as_lines(tmp_path / f"{number}.jsonl", [*PAIRS, row])
        with pytest.raises(InputError, match=rf"{number}\.jsonl:4: .*{message}"):
            list(read_scores(tmp_path / f"{number}.jsonl"))
        if not any(
            isinstance(value, list) and len({*map(type, value)}) > 1 for value in row.values()
        ):
            as_parquet(tmp_path / f"{number}.parquet", [row])
            with pytest.raises(InputError, match=rf"{number}\.parquet: row 1: .*{message}"):
                list(read_scores(tmp_path / f"{number}.parquet"))


def test_a_later_row_of_parquet_is_named(tmp_path):
    as_parquet(tmp_path / "s.parquet", [PAIR] * 10_001 + [PAIR | {"score": math.inf}])
    with pytest.raises(InputError, match=r"s\.parquet: row 10002: .*not finite"):
        list(read_scores(tmp_path / "s.parquet"))


def test_a_number_too_large_for_a_float(tmp_path):
    as_lines(tmp_path / "s.jsonl", [PAIR | {"score": 10**400}])
    with pytest.raises(InputError, match=r"s\.jsonl:1: .*not finite"):
        list(read_scores(tmp_path / "s.jsonl"))


@pytest.mark.parametrize("damage", ["missing", "empty", "start", "end", "text", "pages"])
def test_a_damaged_file_of_parquet(tmp_path, damage):
    path = tmp_path / "s.parquet"
    as_parquet(path, PAIRS)
    whole = path.read_bytes()
    pages = whole[:4] + b"\xff" * 56 + whole[60:]  # the footer is whole; the pages are not
    parts = {"empty": b"", "start": whole[:20], "end": whole[:-20], "text": b"text", "pages": pages}
    path.unlink()
    if damage != "missing":
        path.write_bytes(parts[damage])
    with pytest.raises(InputError, match=r"s\.parquet: "):
        list(read_scores(path))
