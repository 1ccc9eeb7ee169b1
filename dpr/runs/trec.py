"""TREC files: runs (`qid Q0 docid rank score tag`) and judgments (`qid 0 docid grade`).

The rank column of a run is the ranking that trec_eval evaluates (`dpr.records.run`).

A run whose topics found nothing has one row, of the first topic and the passage `NOTHING`: an empty
file looks like one that was cut off, and trec_eval refuses it.
"""

import os
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from dpr.base.errors import InputError
from dpr.base.files import new_file
from dpr.records import beir
from dpr.records.lines import read_lines
from dpr.records.run import Run
from dpr.records.types import Found, Qrels, Scores

if TYPE_CHECKING:
    import pyarrow  # in functions, since it loads slowly

NOTHING = "(nothing-found)"
COLUMNS = ("query", "Q0", "passage", "rank", "score", "tag")
WRITTEN_AT_ONCE = 2**18  # rows
READ_AT_ONCE = 2**22  # bytes
LARGEST = float(np.finfo(np.float32).max)
ONE_AT_A_TIME = Lock()  # reading takes far more memory than a run has in the end


def write_run(path: str | Path, run: Found, tag: str) -> None:
    """`tag` is the name of the system, in the last column.

    A score has as many digits as give the 32-bit float back exactly.
    """
    import pyarrow
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
    """Found by query and passage, with every id a string.

    As in trec_eval, ranks are ignored, and all after the score is the tag. (trectools' reader lets
    pandas guess types, which turns the id "007" into "7".)

    Raises:
        InputError: naming file and line, for an empty file, a wrong number of columns, a score
            that is not a finite number, a document that a topic has twice, or a last line without
            an end.
    """
    _require_line_end(path)
    with ONE_AT_A_TIME:
        run = _read_columns(path)
    run = Run.of(_read_lines(path)) if run is None else run
    found_nothing = run.names(slice(2)).to_pylist() == [NOTHING]
    return Run.of({run.query_ids[0]: {}}) if found_nothing else run


def _require_line_end(path: str | Path) -> None:
    """A run that was cut off is a run of fewer topics, and its last line seldom ends."""
    file = Path(path)
    if file.is_file() and file.stat().st_size:
        with file.open("rb") as opened:
            opened.seek(-1, os.SEEK_END)
            if opened.read() not in b"\r\n":
                raise InputError(
                    f"{path}: the last line has no end, so the run may be cut off; make it again "
                    "(or, if it is whole, end it with a line end)"
                )


def _read_columns(path: str | Path) -> Run | None:
    """The fast way, for one space between columns; None for what only `_read_lines` can explain."""
    import pyarrow
    from pyarrow import csv

    text, types = pyarrow.string(), {"rank": pyarrow.int64(), "score": pyarrow.float32()}
    reading = csv.ReadOptions(column_names=COLUMNS, block_size=READ_AT_ONCE)
    parsing = csv.ParseOptions(
        delimiter=" ", quote_char=False, double_quote=False, ignore_empty_lines=False
    )
    converting = csv.ConvertOptions(
        column_types=dict.fromkeys(COLUMNS, text) | types,
        include_columns=["query", "passage", *types],
        null_values=[],
    )
    topic_of: dict[str, int] = {}
    topics, names, scores = [], [], []
    try:
        with Path(path).open("rb") as file:
            spaced = _Spaced(file)
            for block in csv.open_csv(spaced, reading, parsing, converting):
                if spaced.empty_columns:
                    return None
                queries = block["query"].dictionary_encode()
                known = [
                    topic_of.setdefault(q, len(topic_of)) for q in queries.dictionary.to_pylist()
                ]
                topics.append(np.array(known, np.int32)[queries.indices.to_numpy()])
                names.append(block["passage"])
                scores.append(block["score"].to_numpy())
    except pyarrow.ArrowInvalid:
        return None
    passages = _encoded(pyarrow.chunked_array(names))
    run = Run.of_rows(
        list(topic_of),
        np.concatenate(topics),
        passages.dictionary,
        passages.indices.to_numpy(),
        np.concatenate(scores),
    )
    del passages, names
    pyarrow.default_memory_pool().release_unused()
    return run if np.isfinite(run.scores).all() and not run.has_duplicates() else None


def _encoded(ids: "pyarrow.ChunkedArray") -> "pyarrow.DictionaryArray":
    """The different ids, and of each the place. Numbers take half the time of texts."""
    import pyarrow
    from pyarrow import compute

    odd = compute.or_(compute.starts_with(ids, "0"), compute.starts_with(ids, "-"))
    try:
        if ids.filter(odd).unique().to_pylist() in ([], ["0"]):  # else "007" would become "7"
            found = ids.cast(pyarrow.int64()).dictionary_encode().combine_chunks()
            texts = found.dictionary.cast(ids.type)
            return pyarrow.DictionaryArray.from_arrays(found.indices, texts)
    except pyarrow.ArrowInvalid:
        pass  # not numbers
    return ids.dictionary_encode().combine_chunks()


class _Spaced:
    """A file that looks for columns without a letter in what is read of it."""

    def __init__(self, file: BinaryIO):
        self.file, self.closed, self.empty_columns, self.last = file, False, False, b"\n"

    def read(self, size: int) -> bytes:
        block = self.file.read(size)
        pairs = (b"  ", b"\n ", b" \n", b" \r")
        at_the_seam = self.last + (block[:1] or b"\n")
        self.empty_columns |= any(pair in block or pair == at_the_seam for pair in pairs)
        self.last = block[-1:]
        return block


def _read_lines(path: str | Path) -> Scores:
    """Line by line: any white space between columns, and errors that name the line."""
    run: Scores = {}
    for number, line in read_lines(Path(path)):
        columns = line.split(None, 5)
        try:
            query_id, _, passage_id, rank, text, _ = columns
            int(rank)
            score = float(text)
        except ValueError:
            raise _malformed(f"{path}:{number}", columns) from None
        if not abs(score) <= LARGEST:
            raise InputError(f"{path}:{number}: score {text!r} is not a finite number of 32 bits")
        scores = run.setdefault(query_id, {})
        if passage_id in scores:
            raise InputError(
                f"{path}:{number}: document {passage_id!r} twice for topic {query_id!r}"
            )
        scores[passage_id] = score
    return run


def read_qrels(path: str | Path) -> Qrels:
    """Judgments in TREC's own format; grades may be negative.

    Raises:
        InputError: naming file and line.
    """
    qrels: Qrels = {}
    for number, line in read_lines(Path(path)):
        try:
            query_id, _, passage_id, grade = line.split()
            qrels.setdefault(query_id, {})[passage_id] = beir.grade(grade)
        except ValueError:
            raise InputError(
                f"{path}:{number}: {line.rstrip()!r} is not `qid 0 docid grade`"
            ) from None
    return qrels


def _malformed(where: str, columns: list[str]) -> InputError:
    if len(columns) != 6:
        return InputError(
            f"{where}: {len(columns)} columns; a run has `qid Q0 docid rank score tag`"
        )
    return InputError(f"{where}: rank {columns[3]!r} and score {columns[4]!r} must be numbers")
