"""A teacher's scores of passages for queries: JSON lines or Parquet.

A row has one pair, or all passages of a query. Parquet files have the same columns.

    {"query_id": "q1", "passage_id": "d1", "score": 0.9}
    {"query_id": "q1", "passage_ids": ["d1", "d7"], "scores": [0.9, 0.2]}
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.records.lines import read_jsonl, read_parquet, write_jsonl

TEACHER = "teacher.jsonl"  # in a folder with pairs.jsonl
LAYOUT = '"query_id" with "passage_id" and "score", or with the lists "passage_ids" and "scores"'


def read_scores(path: Path) -> Iterator[tuple[str, str, list[str], list[float]]]:
    """("FILE:LINE", query id, passage ids, scores) of each row.

    Raises:
        InputError: naming file and row, for a wrong layout or a score that is not finite.
    """
    rows = read_parquet(path) if path.suffix == ".parquet" else read_jsonl(path)
    for where, row in rows:
        query_id: Any = row.get("query_id")
        passage_ids: Any = row.get("passage_ids")
        scores: Any = row.get("scores")
        if row.get("passage_id") is not None:
            passage_ids, scores = [row["passage_id"]], [row.get("score")]
        if not (isinstance(query_id, str) and _fit(passage_ids, scores)):
            raise InputError(f"{where}: a row must have {LAYOUT}")
        try:
            numbers = [float(score) for score in scores]
        except OverflowError:  # an integer of more than 308 digits
            numbers = [math.inf]
        if not all(map(math.isfinite, numbers)):
            raise InputError(f"{where}: query {query_id!r} has a score that is not finite")
        yield where, query_id, passage_ids, numbers


def _fit(passage_ids: Any, scores: Any) -> bool:
    """Whether these are lists of one length, not empty: texts and numbers."""
    if not (isinstance(passage_ids, list) and isinstance(scores, list) and passage_ids):
        return False
    texts = all(isinstance(passage_id, str) for passage_id in passage_ids)
    numbers = all(isinstance(s, int | float) and not isinstance(s, bool) for s in scores)
    return texts and numbers and len(passage_ids) == len(scores)


def write_scores(path: Path, lists: Iterable[tuple[str, dict[str, float]]]) -> None:
    """A row for each (query id, {passage id: score}), with six digits."""
    rows = (
        {
            "query_id": query_id,
            "passage_ids": list(scores),
            "scores": [float(f"{score:.6g}") for score in scores.values()],
        }
        for query_id, scores in lists
    )
    write_jsonl(path, rows)
