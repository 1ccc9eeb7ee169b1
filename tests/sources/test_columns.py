"""Headers and columns that could be mistaken: taken by name, told, or refused."""

import pandas as pd
import pytest
from helpers import SHARED, collect, jsonl, needs_shared, train

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.types import Judgment
from dpr.sources import columns, tables
from dpr.sources.beir_rows import read_judgments, read_passages
from dpr.sources.reading import Findings, Reading


def judgments(path, content):
    path.write_bytes(content)
    findings = Findings()
    read = read_judgments([path], "test", findings)
    findings.report("mine")
    return read


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("f.tsv", b"query-id\tcorpus-id\tscore\nq\td\t2\n"),
        ("f.tsv", b"docid\tquery\trel\nd\tq\t2\n"),
        ("f.csv", b"pid,topic,label\nd,q,2\n"),
        ("f.csv", b"qid,docno,label,iteration\nq,d,2,0\n"),
        ("f.tsv", b"document question_id judgement\nd q 2\n"),
        ("f.csv", b",query-id,corpus-id,score\n0,q,d,2\n"),  # pandas' index
        ("f.tsv", b"query-id\tcorpus-id\tgain\nq\td\t2\n"),
        ("f.tsv", b"q 0 d 2\n"),
        ("f.tsv", b"web\tpage\tgain\nq\td\t2\n"),
    ],
)
def test_a_header_of_qrels_decides_the_columns(tmp_path, capsys, name, content):
    assert judgments(tmp_path / name, content) == [Judgment("q", "d", 2)]
    told = capsys.readouterr().err
    assert ("'gain' is taken as 'score'" in told) == (b"gain" in content)
    assert ("'web' is taken as 'query_id'" in told) == (b"web" in content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"docid\tweb\trel\n1\t2\t1\n",
            "f.tsv:1: no column for 'query-id'; found: docid, web, rel",
        ),
        (
            b"1\t2\thigh\n1\t3\t1\n",
            "f.tsv:1: 1, 2, high: no known header; a line must be .* name the columns",
        ),
        (b"a\tb\tc\td\n1\t0\t2\t1\n", "f.tsv:1: a, b, c, d: no known header; a line must be"),
        (b"query-id;corpus-id;score\n1;2;1\n", "separate them by commas, in .tsv by tabs"),
        (b"query_id\tdocid\trel\n1\t2\t0.7\n", "must be a whole number, not 0.7; .* 1 or above"),
        (
            b"query_id\tdocid\trel\n1\t2\tTrue\n",
            "must be a whole number, not 'True'; .* 1 or above",
        ),
    ],
)
def test_a_header_of_qrels_that_is_unclear(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        judgments(tmp_path / "f.tsv", content)


THINGS = [(f"what is thing {n}?", f"DOC-{n:05}") for n in range(300)]
TEXT = {"question": "who came?", "context": "Bob came.", "answer": "Bob"}
TITLED = [{"title": "Visitors", "question": "who came?", "answer": "Bob came."}]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([TEXT], "f.csv:2: any of 'answer', 'context' may be the positive; rename"),
        ([{"query": q, "document": d} for q, d in THINGS], "f.csv:101: all passages .* are ids"),
        ([{"query": q, "document": d} for q, d in THINGS[:3]], "f.csv:4: all passages .* are ids"),
        (
            [{"query": q, "positive": "a text", "negative": d} for q, d in THINGS[:3]],
            None,
        ),
    ],
)
def test_passages_that_are_no_texts(tmp_path, rows, message):
    pd.DataFrame(rows).to_csv(tmp_path / "f.csv", index=False)
    if message is None:
        train(f"pairs:{tmp_path / 'f.csv'}", tmp_path / "out")
        return
    with pytest.raises(InputError, match=message):
        train(f"pairs:{tmp_path / 'f.csv'}", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "text"), [("answer", "Bob came."), ("document", "Visitors. Bob came.")]
)
def test_the_title_is_that_of_a_passage(tmp_path, capsys, name, text):
    file = tmp_path / "f.jsonl"
    file.write_bytes(jsonl({"title": "Visitors", "question": "who came?", name: "Bob came."}))
    train(f"pairs:{file}", tmp_path / "out", held_out=0)
    assert [passage.text for passage in beir.read_passages(tmp_path / "out")] == [text]
    told = capsys.readouterr().err
    assert ("'title' is joined" in told, "ignored: title" in told) == (
        name == "document",
        name == "answer",
    )


def rows(path):
    return [row for _, row in tables.read_rows([path], Reading("corpus", columns.PASSAGES))]


@pytest.mark.parametrize("quoting", [0, 1])  # minimal, all
@pytest.mark.parametrize("count", [2, 300])
def test_a_tsv_with_the_quotes_of_csv_is_refused(tmp_path, quoting, count):
    frame = pd.DataFrame({"id": range(count), "text": ['He said "no"'] * count})
    frame.to_csv(tmp_path / "f.tsv", sep="\t", index=False, quoting=quoting)
    with pytest.raises(InputError, match=r"f\.tsv:\d+: the cells .* are quoted as in CSV"):
        rows(tmp_path / "f.tsv")


def test_honest_quotes_of_a_tsv_stay(tmp_path):
    texts = ['"Yes" and "no"', '"Yes."', 'a "b"', "plain", '"a ""b"" c"']
    text = "".join(f"{n}\t{text}\n" for n, text in enumerate(texts * 60))
    (tmp_path / "f.tsv").write_text(text)
    assert [row["text"] for row in rows(tmp_path / "f.tsv")] == texts * 60
    (tmp_path / "g.tsv").write_text('1\t"Heroes"\n2\tplain\n' * 200)  # titles of songs
    assert len(rows(tmp_path / "g.tsv")) == 400


@needs_shared
def test_the_quotes_of_ms_marco_stay():
    file = SHARED / "collections/msmarco-sample/collection.tsv"
    expected = pd.read_csv(file, sep="\t", quoting=3, header=None, dtype=str)
    assert [row["text"] for row in rows(file)] == list(expected[1])


MANY = {f"document {n}": {"text": "a"} for n in range(40)}
CURES = {
    "semicolons": ("f.csv", b"_id;text\n1;a\n", "1 columns; separate them by commas, in .tsv by"),
    "a line for Excel": ("f.csv", b"sep=,\n_id,text\n1,a\n", "f.csv:1: .* for Excel; remove it"),
    "commas at the end": ("f.csv", b"_id,text,,\n1,a,,\n", "f.csv:1: columns without a name"),
    "of rows alone": ("f.csv", b"_id,text\n1,a,,\n", "f.csv:2: 4 .*; remove the separators at"),
    "a pointer": ("f.csv", tables.LFS + b"v1\noid sha256:0\n", "Git LFS pointer.* `git lfs pull`"),
    "Parquet's pointer": ("f.parquet", tables.LFS + b"v1\n", "f.parquet: a Git LFS pointer"),
    "bz2": ("f.csv.bz2", b"BZh", "must be .jsonl, .*, not .bz2; unpack it"),
    "Excel": ("f.xlsx", b"PK", "not .xlsx; .*save it as `CSV UTF-8`"),
    "one object": ("f.json", jsonl(MANY), "document 9 and 30 more; .* not one object of rows"),
    "an indented object": ("f.json", b'{\n"a": 1}', "an object over several lines; write one a li"),
    "no text": ("f.jsonl", jsonl({"_id": "1", "text": 1}), "must be text, not 1"),
}


@pytest.mark.parametrize("case", CURES)
def test_usual_exports_have_a_cure(tmp_path, case):
    name, content, message = CURES[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        list(read_passages([tmp_path / name], Findings()))
    assert len(str(error.value)) < 500 and "\n" not in str(error.value)


def test_a_text_without_value_has_a_cure(tmp_path):
    (tmp_path / "f.jsonl").write_bytes(jsonl({"query": None, "positive": "a b"}))
    with pytest.raises(InputError, match="must be text, not None; remove the row or give it"):
        train(f"pairs:{tmp_path / 'f.jsonl'}", tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "is_list"),
    [
        ("['a'\n 'b']", True),  # NumPy's
        ('["a", "b"]', True),
        ("[{'text': 'a'} {'text': 'b'}]", True),
        ("['Tis the season] of lists", False),
        ("['a'] and ['b'] are lists \\d", False),
        ("[{x}] is a set", False),
    ],
)
def test_a_list_as_text(tmp_path, text, is_list):
    pd.DataFrame({"query": ["a"], "pos": [text]}).to_parquet(tmp_path / "f.parquet")
    if is_list:
        with pytest.raises(InputError, match="'positive' is a list written as text"):
            train(f"pairs:{tmp_path / 'f.parquet'}", tmp_path / "out")
    else:
        train(f"pairs:{tmp_path / 'f.parquet'}", tmp_path / "out", held_out=0)
        assert next(beir.read_passages(tmp_path / "out")).text == " ".join(text.split())


@pytest.mark.parametrize(
    ("query", "message"),
    [(b"7.0", "query '7.0' must be '7', as in the queries"), (b"8", "query '8' is judged but has")],
)
def test_decimal_ids_of_qrels(tmp_path, query, message):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.csv").write_bytes(b"_id,text\n1,a\n")
    (tmp_path / "queries.csv").write_bytes(b"_id,text\n7,a\n")
    (tmp_path / "qrels/test.csv").write_bytes(b"qid,pid\n" + query + b",1\n")
    with pytest.raises(InputError, match=message):
        collect(f"beir:{tmp_path}", tmp_path / "out")


def test_labels_below_0_are_told_as_such(tmp_path, capsys):
    rows = ({"query": q, "passage": q, "label": n} for q, n in (("a b", 1), ("c d", 0), ("e", -1)))
    (tmp_path / "f.jsonl").write_bytes(jsonl(*rows))
    train(f"pairs:{tmp_path / 'f.jsonl'}", tmp_path / "out", held_out=0)
    assert "2 rows of label 0 or below, left out" in capsys.readouterr().err
