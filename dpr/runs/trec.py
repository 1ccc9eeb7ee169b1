"""TREC files: runs (`qid Q0 docid rank score tag`) and judgments (`qid 0 docid grade`).

The rank column of a run is the ranking that trec_eval evaluates (`dpr.runs.ranking`).
"""

import math
from pathlib import Path

import pandas as pd
from trectools import TrecRun

from dpr.base.errors import InputError
from dpr.base.files import new_file
from dpr.records.types import Qrels, Run
from dpr.runs.ranking import ranking

COLUMNS = ["query", "q0", "docid", "rank", "score", "system"]


def write_run(path: str | Path, run: Run, tag: str) -> None:
    """`tag` is the name of the system, in the last column."""
    with new_file(path) as file:
        for query_id, scores in run.items():
            for rank, (passage_id, score) in enumerate(ranking(scores), start=1):
                # Nine digits give every 32-bit float back exactly.
                file.write(f"{query_id} Q0 {passage_id} {rank} {score:.9g} {tag}\n")


def read_run(path: str | Path) -> TrecRun:
    """A run for trectools, with every id a string.

    (trectools' own reader lets pandas guess types, which turns the id "007" into "7".) As in
    trec_eval, ranks are ignored, and all after the score is the tag.

    Raises:
        InputError: naming file and line, for an empty file, a wrong number of columns, a score
            that is not a finite number, or a document that a topic has twice.
    """
    rows, seen = [], set()
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            rows.append(_row(f"{path}:{number}", line.split(None, 5)))
            pair = (rows[-1][0], rows[-1][2])
            if pair in seen:
                raise InputError(
                    f"{path}:{number}: document {pair[1]!r} twice for topic {pair[0]!r}"
                )
            seen.add(pair)
    if not rows:
        raise InputError(f"{path}: empty; a run needs at least one line")
    run = TrecRun()
    run.filename = str(path)
    run.run_data = pd.DataFrame(rows, columns=COLUMNS)
    return run


def as_dict(run: TrecRun) -> Run:
    """Scores by query and passage."""
    scores: Run = {}
    rows = run.run_data[["query", "docid", "score"]].itertuples(index=False)
    for query_id, passage_id, score in rows:
        scores.setdefault(query_id, {})[passage_id] = score
    return scores


def read_qrels(path: str | Path) -> Qrels:
    """Judgments in TREC's own format; grades may be negative.

    Raises:
        InputError: naming file and line.
    """
    qrels: Qrels = {}
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                query_id, _, passage_id, grade = line.split()
                qrels.setdefault(query_id, {})[passage_id] = int(grade)
            except ValueError:
                raise InputError(
                    f"{path}:{number}: {line.rstrip()!r} is not `qid 0 docid grade`"
                ) from None
    if not qrels:
        raise InputError(f"{path}: empty; judgments need at least one line")
    return qrels


def _row(where: str, columns: list[str]) -> tuple[str, str, str, int, float, str]:
    if len(columns) != len(COLUMNS):
        raise InputError(
            f"{where}: {len(columns)} columns; a run has `qid Q0 docid rank score tag`"
        )
    query_id, q0, passage_id, rank, score, tag = columns
    try:
        row = (query_id, q0, passage_id, int(rank), float(score), tag)
    except ValueError:
        raise InputError(f"{where}: rank {rank!r} and score {score!r} must be numbers") from None
    if not math.isfinite(row[4]):
        raise InputError(f"{where}: score {score!r} is not a finite number")
    return row
