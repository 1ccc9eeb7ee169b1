"""TREC runs: `qid Q0 docid rank score tag`, best first.

Ties stand in trec_eval's order, by document id descending, so that the rank column is the ranking
that trec_eval evaluates. Scores are 32-bit floats, as in trec_eval.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from trectools import TrecRun

from dpr.errors import InputError
from dpr.files import new_file
from dpr.measures import Qrels, Run

COLUMNS = ["query", "q0", "docid", "rank", "score", "system"]


def ranking(scores: dict[str, float]) -> list[tuple[str, float]]:
    """(passage id, 32-bit score), best first, ties by id descending."""
    rounded = [(float(np.float32(score)), passage_id) for passage_id, score in scores.items()]
    return [(passage_id, score) for score, passage_id in sorted(rounded, reverse=True)]


def write_run(path: str | Path, run: Run, tag: str) -> None:
    with new_file(path) as file:
        for query_id, scores in run.items():
            for rank, (passage_id, score) in enumerate(ranking(scores), start=1):
                # Nine digits keep any two different 32-bit floats apart.
                file.write(f"{query_id} Q0 {passage_id} {rank} {score:.9g} {tag}\n")


def read_run(path: str | Path) -> TrecRun:
    """A run as trectools holds it, every id a string.

    trectools' own reader lets pandas guess the types, which turns the id "007" into "7". As in
    trec_eval, the rank column decides nothing, and what follows the score is the tag.

    Raises:
        InputError: naming file and line, for an empty file, a wrong column count, a score that is
            no finite number, or a document that a topic has twice.
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


def drop_query_ids(run: Run, depth: int) -> Run:
    """Without the passage whose id is the query's, where queries are passages of the collection.

    (In ArguAna the query finds itself first.) `depth` passages of each query stay.
    """
    return {
        query_id: dict([pair for pair in ranking(scores) if pair[0] != query_id][:depth])
        for query_id, scores in run.items()
    }


def read_qrels(path: str | Path) -> Qrels:
    """Judgments in TREC's own format, `qid 0 docid grade`; grades may be negative.

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
