"""Tables that cannot be trusted are one line: what is wrong, in which file and row."""

import gzip
import json

import pandas as pd
import pytest
from helpers import HEADER, collect, jsonl, train
from table_helpers import CORPUS, QRELS, QUERIES, WRITE, compressed, put, write_frame

from dpr.base.errors import InputError
from dpr.sources import columns, tables
from dpr.sources.reading import Reading

IDS = b"".join(b"%d\t%d\t%d\n" % (n, n + 1, n + 2) for n in range(120))
SOUND = b"a b\tc d\n"
WRONG = {
    "ids": ("triples", "f.tsv", IDS, "f.tsv:100: all passages up to here are ids, .* BEIR folder"),
    "few ids": ("pairs", "f.tsv", b"q1\td1\n", "f.tsv:1: all passages .* are ids"),
    "columns of ids": (
        *("pairs", "f.jsonl", jsonl({"query_id": "1", "query": "a", "positive_document_ids": []})),
        "f.jsonl:1: no column for 'positive'; found: query_id, .*BEIR folder",
    ),
    "no positive": ("pairs", "f.jsonl", jsonl({"query": "a", "pos": []}), ":1: no 'positive'"),
    "an empty negative": (
        *("pairs", "f.jsonl", jsonl({"query": "a", "pos": ["b"], "neg": [""]})),
        ":1: 'negative' is empty",
    ),
    "a half label": (
        *("pairs", "f.csv", b"query,passage,label\na b,c d,0.5\n"),
        "f.csv:2: 'label' must be a whole number, not 0.5",
    ),
    "an unknown header": (
        "pairs",
        "f.csv",
        b"query,web\na,b\n",
        ":2: no column .*found: query, web",
    ),
    "a list as text": (
        "pairs",
        "f.csv",
        b"query,pos\na,\"['b', 'c']\"\n",
        ":2: 'positive' is a list",
    ),
    "a name twice": ("pairs", "f.csv", b"query,pos,pos\na,b,c\n", "f.csv:1: the header has a name"),
    "a blank line": ("pairs", "f.tsv", SOUND + b"\n" + SOUND, "f.tsv:2: a blank line between"),
    "UTF-16": ("pairs", "f.csv", "query,pos\n".encode("utf-16"), "f.csv:1: not UTF-8 .*byte 0xff"),
    "Latin-1": ("pairs", "f.tsv", SOUND + b"caf\xe9\tx\n", "f.tsv:2: not UTF-8 .*byte 0xe9"),
    "only a header": ("pairs", "f.csv", b"query,pos\n", "f.csv: no pairs"),
    "only label 0": ("pairs", "f.csv", b"query,pos,label\na,b,0\n", "f.csv: no pairs"),
    "half a zst": ("pairs", "f.tsv.zst", compressed(SOUND * 9, ".zst")[:-4], "damaged zst"),
    "half an array": ("pairs", "f.json", b'[{"query": "a b"}, {', "f.json: not a JSON array"),
    "not Parquet": ("pairs", "f.parquet", SOUND, "f.parquet: cannot be read as Parquet"),
    "no such file": (
        "pairs",
        "g.tsv",
        SOUND,
        r"f.tsv: no such file: there is no /.*f.tsv\. A queued",
    ),
    "a nested text": (
        *("corpus", "corpus.parquet", WRITE[".parquet"](CORPUS.assign(text=[{"a": "b"}] * 3))),
        "corpus.parquet: row 1: 'text' must be text, not {'a': 'b'}",
    ),
    "half an id": (
        *("corpus", "corpus.jsonl", jsonl({"_id": 12.5, "text": "a"})),
        "corpus.jsonl:1: '_id' must be an id .*, not 12.5",
    ),
    "an empty column": (
        "corpus",
        "corpus.csv",
        b'_id,text\n1,""\n2,""\n',
        "csv: no text in it",
    ),
    "a short row": ("corpus", "corpus.csv", b"_id,text\n1\n", ":2: 1 columns; the header has 2"),
    "one id twice": ("corpus", "corpus.csv", b"_id,text\n1,a\n1,b\n", "passages 1 and 2 have the"),
    "half a grade": ("qrels", "test.tsv", HEADER + b"7\t1\t0.5\n", "test.tsv:2: .*, not 0.5"),
    "two grades": ("qrels", "test.tsv", b"7\t1\t0\n7\t1\t1\n", ":2: '1' is judged twice for '7'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(tmp_path, case):
    kind, name, content, message = WRONG[case]
    if kind in ("pairs", "triples"):
        put(tmp_path / name, content)
        asked = tmp_path / ("f.tsv" if case == "no such file" else name)
        with pytest.raises(InputError, match=message) as error:
            train(f"{kind}:{asked}", tmp_path / "out")
    else:
        write_frame(tmp_path / "queries.jsonl", QUERIES)
        write_frame(tmp_path / "corpus.jsonl", CORPUS)
        write_frame(tmp_path / "qrels/test.jsonl", QRELS)
        (tmp_path / ("corpus.jsonl" if kind == "corpus" else "qrels/test.jsonl")).unlink()
        put(tmp_path / ("qrels" if kind == "qrels" else "") / name, content)
        with pytest.raises(InputError, match=message) as error:
            collect(f"beir:{tmp_path}", tmp_path / "out")
    assert "\n" not in str(error.value)


def test_a_large_array_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ARRAY", 100)
    rows = json.dumps([{"query": "a b", "pos": "c"}] * 9).encode()
    for name, content in (("f.json", rows), ("f.json.gz", gzip.compress(rows))):
        with pytest.raises(InputError, match="write JSON lines"):
            train(f"pairs:{put(tmp_path / name, content)}", tmp_path / "out")


def test_a_file_that_grows_is_refused(tmp_path):
    file = write_frame(tmp_path / "corpus.csv", pd.concat([CORPUS] * 9))
    rows = tables.read_rows([file], Reading("corpus", columns.PASSAGES))
    next(rows)
    with file.open("ab") as more:
        more.write(b"x,y,z\n")
    with pytest.raises(InputError, match=r"corpus\.csv: has changed while it was read"):
        list(rows)
