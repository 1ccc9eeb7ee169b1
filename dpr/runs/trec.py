"""TREC files: runs (`qid Q0 docid rank score tag`) and judgments (`qid 0 docid grade`).

The rank column of a run is the ranking that trec_eval evaluates (`dpr.records.ranking`).
"""

import math
import sys
from pathlib import Path

from dpr.base.errors import InputError
from dpr.base.files import new_file
from dpr.records.ranking import ranking
from dpr.records.types import Qrels, Run


def write_run(path: str | Path, run: Run, tag: str) -> None:
    """`tag` is the name of the system, in the last column."""
    with new_file(path) as file:
        for query_id, scores in run.items():
            for rank, (passage_id, score) in enumerate(ranking(scores), start=1):
                # Nine digits give every 32-bit float back exactly.
                file.write(f"{query_id} Q0 {passage_id} {rank} {score:.9g} {tag}\n")


def read_run(path: str | Path) -> Run:
    """Scores by query and passage, with every id a string.

    As in trec_eval, ranks are ignored, and all after the score is the tag. (trectools' reader lets
    pandas guess types, which turns the id "007" into "7".)

    Raises:
        InputError: naming file and line, for an empty file, a wrong number of columns, a score
            that is not a finite number, or a document that a topic has twice.
    """
    run: Run = {}
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            columns = line.split(None, 5)
            try:
                query_id, _, passage_id, rank, text, _ = columns
                int(rank)
                score = float(text)
            except ValueError:
                raise _malformed(f"{path}:{number}", columns) from None
            if not math.isfinite(score):
                raise InputError(f"{path}:{number}: score {text!r} is not a finite number")
            scores = run.setdefault(query_id, {})
            if passage_id in scores:
                raise InputError(
                    f"{path}:{number}: document {passage_id!r} twice for topic {query_id!r}"
                )
            scores[sys.intern(passage_id)] = score  # one string for all topics
    if not run:
        raise InputError(f"{path}: empty; a run needs at least one line")
    return run


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


def _malformed(where: str, columns: list[str]) -> InputError:
    if len(columns) != 6:
        return InputError(
            f"{where}: {len(columns)} columns; a run has `qid Q0 docid rank score tag`"
        )
    return InputError(f"{where}: rank {columns[3]!r} and score {columns[4]!r} must be numbers")
