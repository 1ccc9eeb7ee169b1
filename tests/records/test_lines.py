"""Rows of files: which file and line an error names, and cells that have line ends in them."""

import csv
import gzip

import pytest

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.lines import read_jsonl
from dpr.sources.reading import Findings
from dpr.sources.tables import read_csv
from dpr.sources.text_pairs import read_pairs

QRELS = beir.QRELS_HEADER.encode()


@pytest.mark.parametrize(
    ("name", "line", "content", "read"),
    [
        ("corpus.jsonl", 2, b"{}\nno", lambda f: list(read_jsonl(f / "corpus.jsonl"))),
        ("queries.jsonl", 2, b'{"_id": "q", "text": "a"}\n' * 2, beir.read_queries),
        ("qrels/test.tsv", 2, QRELS + b"\nq d", lambda f: beir.read_qrels(f, "test")),
        ("qrels/test.tsv", 3, QRELS + b"\nq\td\t1" * 2, lambda f: beir.read_qrels(f, "test")),
        ("p.tsv", 2, b"a\tb\nc\n", lambda f: list(read_pairs([f / "p.tsv"], " ", Findings()))),
        ("a.csv", 2, b'a,b\n"c" d,e\n', lambda f: list(read_csv(f / "a.csv"))),
    ],
)
@pytest.mark.parametrize("end", ["", ".gz"])
def test_an_error_names_the_file_that_is_there(tmp_path, name, line, content, read, end):
    path = tmp_path / f"{name}{end}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(content) if end else content)
    with pytest.raises(InputError) as error:
        read(tmp_path)
    assert str(error.value).startswith(f"{path}:{line}: ")


def test_csv_is_read_as_it_is_written(tmp_path):
    rows = [["1", 'A "title"', "two\n\nlines"], ["2", "", "x" * 200_000], ["3", "a,b", "c\td"]]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)  # its line ends are CRLF
    found = list(read_csv(tmp_path / "a.csv"))
    assert [cells for _, cells in found] == rows
    assert [where.rpartition(":")[2] for where, _ in found] == ["3", "4", "5"]


def test_a_quote_that_is_left_open_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text('1,"a\n')
    with pytest.raises(InputError, match=r"a\.csv:1: not CSV \(unexpected end of data\)"):
        list(read_csv(tmp_path / "a.csv"))
