"""Bad input through the registry: one clear error that names file and line.

tests/records/ has the errors of each kind of line.
"""

import gzip

import pytest
from helpers import HEADER, TRIPLE, collect, jsonl, train

from dpr.base.errors import InputError
from dpr.records.lines import LONGEST

BAD_BEIR = [
    ("corpus.jsonl", b"", r"corpus\.jsonl: empty"),
    (
        "corpus.jsonl",
        jsonl({"_id": "a\0b", "text": "a"}),
        r"passage 1: 'a\\x00b' is not a valid",
    ),
    (
        "corpus.jsonl",
        jsonl(*({"_id": i, "text": "a"} for i in ("d0", "d1", "d0"))),
        r"passages 1 and 3 have the same id 'd0'",
    ),
    ("corpus.jsonl", b"x" * (LONGEST + 2), r"corpus\.jsonl:1: a line of more than"),
    ("corpus.jsonl", b'{"_id": "d0"}\r{"_id": "d1"}\r', r"corpus\.jsonl:1: a CR within"),
    ("queries.jsonl", jsonl({"_id": "q0", "text": " "}), r"queries\.jsonl:1: query 'q0' has no"),
    (
        "queries.jsonl",
        jsonl({"_id": "q0", "text": "a"}, {"_id": "q0", "text": "b"}),
        r"queries\.jsonl:2: the id 'q0' comes twice",
    ),
    ("qrels/test.tsv", HEADER + b"q0\td0\t1\nq9\td0\t1\n", r"query 'q9' is judged but has no text"),
    ("qrels/test.tsv", HEADER, r"no judgments of its queries|no queries"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_BEIR)
def test_a_bad_beir_folder(folder, tmp_path, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        collect(f"beir:{folder}", tmp_path / "out")


def test_missing_folders_and_splits(folder, tmp_path):
    with pytest.raises(InputError, match=r"qrels: no split 'dev'; the splits are: test, train"):
        collect(f"beir:{folder}", tmp_path / "out", split="dev")
    for path in (folder / "qrels").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"no qrels/SPLIT\.tsv"):
        collect(f"beir:{folder}", tmp_path / "out")
    with pytest.raises(InputError, match=rf"no such folder: there is no {tmp_path}/now"):
        collect(f"beir:{tmp_path / 'nowhere'}", tmp_path / "out")


def test_a_truncated_gzip(folder, tmp_path):
    whole = gzip.compress((folder / "corpus.jsonl").read_bytes())
    (folder / "corpus.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "corpus.jsonl").unlink()
    with pytest.raises(InputError, match=r"corpus\.jsonl\.gz: damaged gz \(Compressed file ended"):
        collect(f"beir:{folder}", tmp_path / "out")
    (folder / "corpus.jsonl.gz").write_bytes(b"not gzip at all")
    with pytest.raises(InputError, match=r"corpus\.jsonl\.gz: damaged gz \(Not a gzipped"):
        collect(f"beir:{folder}", tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("triples", b"q\tp\n", r"f\.tsv:1: 2 columns; .*`query TAB positive TAB negative`"),
        ("triples", TRIPLE + b"q\tp\tn\tx\n", r"f\.tsv:2: 4 columns"),
        ("triples", b"q\t \tn\n", r"f\.tsv:1: 'positive' is empty"),
        ("triples", b"", r"f\.tsv: empty"),
        ("triples", TRIPLE, r"data\.held_out: holding out 1 of 1 .* leaves nothing to train on"),
        ("pairs", TRIPLE, r"f\.tsv:1: 3 columns; .*`query TAB positive`"),
        ("pairs", b"q\xff\tp\n", r"f\.tsv:1: not UTF-8"),
        ("pairs", b"\n", r"f\.tsv: no pairs"),
    ],
)
def test_bad_triples_and_pairs(tmp_path, kind, content, message):
    (tmp_path / "f.tsv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        train(f"{kind}:{tmp_path / 'f.tsv'}", tmp_path / "out")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": "a"}, "no column for 'positive'; found: query; taken: passage, positive,"),
        ({"query": "a", "passage": ""}, "'positive' is empty"),
        ({"query": 1, "passage": "b"}, "'query' must be text, not 1"),
    ],
)
def test_bad_pairs_as_json(tmp_path, row, message):
    (tmp_path / "f.jsonl").write_bytes(jsonl({"query": "a", "passage": "b"}, row))
    with pytest.raises(InputError, match=rf"f\.jsonl:2: {message}"):
        train(f"pairs:{tmp_path / 'f.jsonl'}", tmp_path / "out")


@pytest.mark.parametrize("name", ["medlin", "beir", "beir:", "medline:x", "triples:f", "", "irds:"])
def test_an_unknown_collection(tmp_path, name):
    with pytest.raises(InputError, match=r"data\.collection: unknown source .*: medline,"):
        collect(name, tmp_path / "out")


def test_an_unknown_training(tmp_path):
    with pytest.raises(InputError, match=r"params\.yaml: data\.train: unknown source 'trec-covid'"):
        train("trec-covid", tmp_path / "out")
    with pytest.raises(InputError, match=r"no such file"):
        train(f"triples:{tmp_path / 'nowhere.tsv'}", tmp_path / "out")
    with pytest.raises(InputError, match=r"no table in this folder"):
        train(f"pairs:{tmp_path}", tmp_path / "out")
