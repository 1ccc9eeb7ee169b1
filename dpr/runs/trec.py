"""Runs as TREC files: `qid Q0 docid rank score tag`.

The rank column is the ranking that trec_eval evaluates (`dpr.records.run`).

A run that found nothing for any topic has one row, with the first topic and the passage `NOTHING`:
an empty file looks truncated, and trec_eval refuses it.
"""

import os
from pathlib import Path

import numpy as np

from dpr.base.errors import InputError
from dpr.base.files import new_file
from dpr.records.lines import read_lines
from dpr.records.run import Run
from dpr.records.types import RunLike, Scores

NOTHING = "(nothing-found)"
COLUMNS = ("query", "Q0", "passage", "rank", "score", "tag")
WRITTEN_AT_ONCE = 2**18  # rows
LARGEST = float(np.finfo(np.float32).max)


def write_run(path: str | Path, run: RunLike, tag: str) -> None:
    """`tag` is the name of the system, in the last column.

    A score has as many digits as its 32-bit float needs to be read back exactly.
    """
    import pyarrow  # here and below, since it loads slowly
    from pyarrow import compute

    run = Run.of(run)
    if run.query_ids and not len(run.scores):
        run = Run.of({run.query_ids[0]: {NOTHING: 0.0}})
    text = pyarrow.string()
    queries = pyarrow.array(run.query_ids, text)
    with new_file(path) as file:
        for start in range(0, len(run.scores), WRITTEN_AT_ONCE):
            rows = slice(start, start + WRITTEN_AT_ONCE)
            numbers = [pyarrow.array(c[rows]).cast(text) for c in (run.ranks, run.scores)]
            columns = [queries.take(run.topics[rows]), "Q0", run.names(rows), *numbers, f"{tag}\n"]
            lines = compute.binary_join_element_wise(*columns, " ")
            _, ends, characters = lines.buffers()
            size = np.frombuffer(ends, np.int32)[len(lines)]
            file.buffer.write(memoryview(characters)[:size])


def read_run(path: str | Path) -> Run:
    """The run of a file, with every id a string, so that "007" stays "007".

    As in trec_eval, ranks are ignored, and everything after the score is the tag. pyarrow reads
    columns with one space between them. `_read_lines` reads other files, or explains the error.

    Raises:
        InputError: naming file and line, for an empty file, a wrong number of columns, a score
            that is not a finite number, a document listed twice for a topic, or a last line
            without an end.
    """
    _require_line_end(Path(path))
    run = _read_columns(path)
    run = Run.of(_read_lines(path)) if run is None else run
    found_nothing = run.names(slice(2)).to_pylist() == [NOTHING]
    return Run.of({run.query_ids[0]: {}}) if found_nothing else run


def _require_line_end(path: Path) -> None:
    """A truncated run looks like a run of fewer topics, but its last line seldom has an end."""
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            if file.read() not in b"\r\n":
                raise InputError(
                    f"{path}: the last line has no end, so the run may be truncated; make it again "
                    "(or, if it is whole, end it with a line end)"
                )


def _read_columns(path: str | Path) -> Run | None:
    """None for a file that only `_read_lines` can read or explain."""
    import pyarrow
    from pyarrow import csv

    text = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    types = dict.fromkeys(COLUMNS, text) | {"rank": pyarrow.int64(), "score": pyarrow.float32()}
    try:
        table = csv.read_csv(
            path,
            csv.ReadOptions(column_names=COLUMNS),
            csv.ParseOptions(delimiter=" ", quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types=types, null_values=[]),
        )
    except (pyarrow.ArrowInvalid, OSError):
        return None
    texts = {
        name: column.unify_dictionaries().combine_chunks()
        for name, column in zip(table.column_names, table.columns, strict=True)
        if column.type == text
    }
    # An empty text is a second space between columns, or one at the end of a line.
    queries, passages, scores = texts["query"], texts["passage"], table["score"].to_numpy()
    empty = any(column.dictionary.index("").as_py() >= 0 for column in texts.values())
    if empty or not np.isfinite(scores).all():
        return None
    rows = (queries.indices.to_numpy(), passages.dictionary, passages.indices.to_numpy(), scores)
    run = Run.of_rows(queries.dictionary.to_pylist(), *rows)
    return None if run.has_duplicates() else run


def _read_lines(path: str | Path) -> Scores:
    """Line by line: any white space between columns, and errors that name the line."""
    run: Scores = {}
    for where, line in read_lines(Path(path)):
        columns = line.split(None, 5)
        if len(columns) != 6:
            raise InputError(
                f"{where}: {len(columns)} columns; a run has `qid Q0 docid rank score tag`"
            )
        query_id, _, passage_id, rank, text, _ = columns
        try:
            int(rank)
            score = float(text)
        except ValueError:
            raise InputError(f"{where}: rank {rank!r} and score {text!r} must be numbers") from None
        if not abs(score) <= LARGEST:
            raise InputError(f"{where}: score {text!r} is not a finite number of 32 bits")
        scores = run.setdefault(query_id, {})
        if passage_id in scores:
            raise InputError(f"{where}: document {passage_id!r} twice for topic {query_id!r}")
        scores[passage_id] = score
    return run
