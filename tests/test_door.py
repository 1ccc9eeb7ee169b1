"""Every source goes through one door; bad input has one clear error or a counted treatment."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dpr.collections import beir, door, writer
from dpr.collections.ids import IdSet
from dpr.collections.lines import LONGEST
from dpr.collections.triples import hold_out
from dpr.errors import InputError
from dpr.settings import load_settings

DATA = load_settings(Path(__file__).parents[1] / "params.yaml").data
HEADER = b"query-id\tcorpus-id\tscore\n"
TRIPLE = b"what is a heart\tA muscle.\tA bone.\n"


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def folder(tmp_path):
    """A sound BEIR folder; tests spoil one file of it."""
    root = tmp_path / "beir"
    (root / "qrels").mkdir(parents=True)
    passages = [{"_id": f"d{i}", "title": "", "text": f"text {i}"} for i in range(4)]
    (root / "corpus.jsonl").write_bytes(jsonl(*passages))
    (root / "queries.jsonl").write_bytes(jsonl(*({"_id": f"q{i}", "text": "?"} for i in range(3))))
    (root / "qrels/test.tsv").write_bytes(HEADER + b"q0\td0\t1\nq1\td1\t2\n")
    (root / "qrels/train.tsv").write_bytes(HEADER + b"q1\td1\t1\nq2\td2\t1\nq2\td3\t0\n")
    return root


def collect(name, out, **changes):
    data = DATA.model_copy(update={"collection": name} | changes)
    return writer.write_collection(door.open_collection(data), out, name)


def train(name, out, **changes):
    data = DATA.model_copy(update={"train": name, "held_out": 1} | changes)
    return writer.write_training(door.open_training(data), out, name)


# --- sound input


def test_a_beir_folder(folder, tmp_path):
    manifest = collect(f"beir:{folder}", tmp_path / "out")
    assert manifest["source"]["queries_without_judgments"] == 1
    assert beir.read_queries(tmp_path / "out").keys() == {"q0", "q1"}
    assert beir.read_qrels(tmp_path / "out", "test") == {"q0": {"d0": 1}, "q1": {"d1": 2}}
    assert beir.read_qrels(tmp_path / "out", "valid") == {}


def test_a_split_by_name_and_dev_topics_to_validate(folder, tmp_path):
    (folder / "qrels/dev.tsv").write_bytes(HEADER + b"q2\td2\t1\n")
    collect(f"beir:{folder}", tmp_path / "out", split="train")
    assert beir.read_qrels(tmp_path / "out", "test").keys() == {"q1", "q2"}
    assert beir.read_qrels(tmp_path / "out", "valid") == {"q2": {"d2": 1}}


def test_gzipped_corpus(folder, tmp_path):
    path = folder / "corpus.jsonl"
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert collect(f"beir:{folder}", tmp_path / "out")["passages"]["count"] == 4


def test_a_beir_folder_to_train_on(folder, tmp_path):
    manifest = train(f"beir:{folder}", tmp_path / "out")
    assert manifest["pairs"]["count"] == 1
    held = beir.read_qrels(tmp_path / "out", "valid").keys()
    trained = {pair.query_id for pair in beir.read_pairs(tmp_path / "out")}
    assert len(held) == 1
    assert held | trained == {"q1", "q2"}


@pytest.mark.parametrize("suffix", ["tsv", "tsv.gz"])
def test_triples(tmp_path, suffix):
    text = "caf\u00c3\u00a9?\tYes.\tNo.\nq two\tOne.\tYes.\nq two\tTwo.\tNo.\n".encode()
    path = tmp_path / f"triples.{suffix}"
    path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    manifest = train(f"triples:{path}", tmp_path / "out")
    assert manifest["pairs"]["with_negatives"] == manifest["pairs"]["count"]
    texts = {p.id: p.text for p in beir.read_corpus(tmp_path / "out")}
    queries = beir.read_queries(tmp_path / "out")
    assert sorted(texts.values()) == ["No.", "One.", "Two.", "Yes."]  # equal texts are one
    assert {q.text for q in queries.values()} == {"caf\u00e9?", "q two"}
    assert manifest["queries"]["repaired"] == 1
    for pair in beir.read_pairs(tmp_path / "out"):
        assert (texts[pair.passage_id], texts[pair.negative_ids[0]]) in {
            ("Yes.", "No."),
            ("One.", "Yes."),
            ("Two.", "No."),
        }
    limited = train(f"triples:{path}", tmp_path / "limited", train_limit=2)
    assert limited["source"]["examples"] == 2


def test_pairs_as_columns_and_as_json(tmp_path):
    (tmp_path / "p.tsv").write_text("a\tone\nb\ttwo\n")
    rows = [{"query": "a", "passage": "one"}, {"query": "b", "passage": "two"}]
    (tmp_path / "p.jsonl").write_bytes(jsonl(*rows))
    train(f"pairs:{tmp_path / 'p.tsv'}", tmp_path / "columns")
    train(f"pairs:{tmp_path / 'p.jsonl'}", tmp_path / "json")
    for name in ("corpus.jsonl", "queries.jsonl", "pairs.jsonl", "qrels/train.tsv"):
        one, two = ((tmp_path / kind / name).read_bytes() for kind in ("columns", "json"))
        assert one == two


def test_held_out_queries_are_drawn_by_seed():
    ids = [f"q{i // 2}" for i in range(200)]
    held = hold_out(ids, 20, seed=1)
    assert len(held) == 10
    assert held == hold_out(ids, 20, seed=1) != hold_out(ids, 20, seed=2)


# --- bad input: an error

BAD_BEIR = [
    ("corpus.jsonl", b"", r"corpus\.jsonl: empty"),
    ("corpus.jsonl", b"{", r"corpus\.jsonl:1: not a line of JSON"),
    ("corpus.jsonl", b"[]\n", r"corpus\.jsonl:1: not a JSON object"),
    ("corpus.jsonl", b"\n", r"corpus\.jsonl:1: not a line of JSON"),
    ("corpus.jsonl", jsonl({"text": "a"}), r"corpus\.jsonl:1: '_id' must be text"),
    ("corpus.jsonl", jsonl({"_id": "d0"}), r"corpus\.jsonl:1: 'text' must be text"),
    ("corpus.jsonl", jsonl({"_id": 7, "text": "a"}), r"corpus\.jsonl:1: '_id' must be text, not 7"),
    ("corpus.jsonl", jsonl({"_id": "a b", "text": "a"}), r"corpus\.jsonl:1: .*without white space"),
    ("corpus.jsonl", jsonl({"_id": "a\0b", "text": "a"}), r"passage 1: 'a\\x00b' is no id"),
    (
        "corpus.jsonl",
        jsonl(*({"_id": i, "text": "a"} for i in ("d0", "d1", "d0"))),
        r"passages 1 and 3 have the same id 'd0'",
    ),
    ("corpus.jsonl", b'{"_id": "d0", "text": "\xff"}\n', r"corpus\.jsonl:1: not UTF-8"),
    ("corpus.jsonl", b"x" * (LONGEST + 2), r"corpus\.jsonl:1: a line of more than"),
    ("corpus.jsonl", b'{"_id": "d0"}\r{"_id": "d1"}\r', r"corpus\.jsonl:1: a CR within"),
    ("queries.jsonl", jsonl({"_id": "q0", "text": " "}), r"queries\.jsonl:1: query 'q0' has no"),
    (
        "queries.jsonl",
        jsonl({"_id": "q0", "text": "a"}, {"_id": "q0", "text": "b"}),
        r"queries\.jsonl:2: the id 'q0' comes twice",
    ),
    ("qrels/test.tsv", b"q0\td0\t1\n", r"test\.tsv:1: the header must be"),
    ("qrels/test.tsv", HEADER + b"q0 d0 1\n", r"test\.tsv:2: .*TAB integer grade"),
    ("qrels/test.tsv", HEADER + b"q0\td0\t0.5\n", r"test\.tsv:2: .*TAB integer grade"),
    ("qrels/test.tsv", HEADER + b"q0\td0\t1\nq0\td0\t2\n", r"test\.tsv:3: 'q0' judges 'd0' twice"),
    ("qrels/test.tsv", HEADER + b"q0\td0\t1\nq9\td0\t1\n", r"query 'q9' is judged but has no text"),
    ("qrels/test.tsv", HEADER, r"no judgments of its queries|no queries"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_BEIR)
def test_a_bad_beir_folder(folder, tmp_path, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        collect(f"beir:{folder}", tmp_path / "out")


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_a_missing_file(folder, tmp_path, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: no such file"):
        collect(f"beir:{folder}", tmp_path / "out")


def test_missing_folders_and_splits(folder, tmp_path):
    with pytest.raises(InputError, match=r"dev\.tsv: no such file; there are the splits: test, tr"):
        collect(f"beir:{folder}", tmp_path / "out", split="dev")
    for path in (folder / "qrels").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"no qrels/SPLIT\.tsv"):
        collect(f"beir:{folder}", tmp_path / "out")
    with pytest.raises(InputError, match=r"no such folder"):
        collect(f"beir:{tmp_path / 'nowhere'}", tmp_path / "out")


def test_a_truncated_gzip(folder, tmp_path):
    whole = gzip.compress((folder / "corpus.jsonl").read_bytes())
    (folder / "corpus.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "corpus.jsonl").unlink()
    with pytest.raises(InputError, match=r"corpus\.jsonl\.gz: damaged gzip after line"):
        collect(f"beir:{folder}", tmp_path / "out")
    (folder / "corpus.jsonl.gz").write_bytes(b"not gzip at all")
    with pytest.raises(InputError, match=r"corpus\.jsonl\.gz: damaged gzip"):
        collect(f"beir:{folder}", tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("triples", b"q\tp\n", r"f\.tsv:1: 2 columns or an empty one; .*negative"),
        ("triples", TRIPLE + b"q\tp\tn\tx\n", r"f\.tsv:2: 4 columns"),
        ("triples", b"q\t \tn\n", r"f\.tsv:1: 3 columns or an empty one"),
        ("triples", b"", r"f\.tsv: empty"),
        ("triples", TRIPLE, r"data\.held_out: 1 of 1 .* leave nothing to train on"),
        ("pairs", TRIPLE, r"f\.tsv:1: 3 columns or an empty one; .*`query TAB passage`"),
        ("pairs", b"q\xff\tp\n", r"f\.tsv:1: not UTF-8"),
        ("pairs", b"\n", r"f\.tsv:1: 1 columns"),
    ],
)
def test_bad_triples_and_pairs(tmp_path, kind, content, message):
    (tmp_path / "f.tsv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        train(f"{kind}:{tmp_path / 'f.tsv'}", tmp_path / "out")


@pytest.mark.parametrize(
    "row", [{"query": "a"}, {"query": "a", "passage": ""}, {"query": 1, "passage": "b"}]
)
def test_bad_pairs_as_json(tmp_path, row):
    (tmp_path / "f.jsonl").write_bytes(jsonl({"query": "a", "passage": "b"}, row))
    with pytest.raises(InputError, match=r'f\.jsonl:2: "query" and "passage" must be texts'):
        train(f"pairs:{tmp_path / 'f.jsonl'}", tmp_path / "out")


@pytest.mark.parametrize("name", ["medlin", "beir", "beir:", "medline:x", "triples:f", "", "irds:"])
def test_an_unknown_collection(tmp_path, name):
    with pytest.raises(InputError, match=r"params\.yaml: data\.collection: .* is none of: medline"):
        collect(name, tmp_path / "out")


def test_an_unknown_training(tmp_path):
    with pytest.raises(InputError, match=r"params\.yaml: data\.train: 'trec-covid' is none of"):
        train("trec-covid", tmp_path / "out")
    with pytest.raises(InputError, match=r"no such file"):
        train(f"triples:{tmp_path / 'nowhere.tsv'}", tmp_path / "out")
    with pytest.raises(InputError, match=r"a folder, where a file"):
        train(f"pairs:{tmp_path}", tmp_path / "out")


# --- bad input: a documented, counted treatment


def test_what_is_mended_is_counted(folder, tmp_path):
    rows = [
        {"_id": "d0", "text": "It\u00e2\u20ac\u2122s  here"},  # mojibake
        {"_id": "d1", "text": "a\0b"},  # NUL
        {"_id": "d2", "title": "", "text": ""},  # empty
        {"_id": "d3", "text": "two  spaces are no damage"},
    ]
    (folder / "corpus.jsonl").write_bytes(jsonl(*rows))
    manifest = collect(f"beir:{folder}", tmp_path / "out")
    assert manifest["passages"]["repaired"] == 2
    assert manifest["passages"]["empty"] == 1
    texts = [p.text for p in beir.read_corpus(tmp_path / "out")]
    assert texts == ["It's here", "ab", "", "two spaces are no damage"]


def test_byte_order_mark_and_crlf_are_dropped(folder, tmp_path):
    path = folder / "qrels/test.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    collect(f"beir:{folder}", tmp_path / "out")
    assert beir.read_qrels(tmp_path / "out", "test") == {"q0": {"d0": 1}, "q1": {"d1": 2}}


def test_judgments_of_unknown_passages_and_negative_grades_are_kept_and_counted(
    folder, tmp_path, capsys
):
    (folder / "qrels/test.tsv").write_bytes(HEADER + b"q0\td0\t1\nq0\tgone\t1\nq0\td1\t-1\n")
    manifest = collect(f"beir:{folder}", tmp_path / "out")
    assert manifest["judgments"]["test"] == {
        "judgments": 3,
        "relevant": 2,
        "negative_grade": 1,
        "unknown_passages": 1,
        "repeated": 0,
        "queries": 1,
    }
    assert "1 judgments of passages that are not in the collection" in capsys.readouterr().err
    assert beir.read_qrels(tmp_path / "out", "test")["q0"] == {"d0": 1, "gone": 1, "d1": -1}


def test_the_judged_split_neither_trains_nor_validates(folder, tmp_path):
    (folder / "qrels/dev.tsv").write_bytes(HEADER + b"q0\td2\t1\n")
    train(f"beir:{folder}", tmp_path / "a")
    assert beir.read_qrels(tmp_path / "a", "valid").keys() == {"q0"}
    train(f"beir:{folder}", tmp_path / "b", split="dev")
    assert beir.read_qrels(tmp_path / "b", "valid").keys() < {"q1", "q2"}
    with pytest.raises(InputError, match=r"data\.split: 'train' is trained on"):
        train(f"beir:{folder}", tmp_path / "c", split="train")


def test_a_validation_split_of_nothing_relevant_is_passed_over(folder, tmp_path):
    (folder / "qrels/valid.tsv").write_bytes(HEADER)
    (folder / "qrels/dev.tsv").write_bytes(HEADER + b"q0\td2\t0\n")
    train(f"beir:{folder}", tmp_path / "out")
    assert len(beir.read_qrels(tmp_path / "out", "valid")) == 1


def test_training_pairs_of_unknown_passages_are_left_out_and_counted(folder, tmp_path):
    (folder / "qrels/train.tsv").write_bytes(
        HEADER + b"q0\td0\t1\nq1\tgone\t1\nq1\td1\t1\nq2\td2\t1\n"
    )
    (folder / "qrels/dev.tsv").write_bytes(HEADER + b"q0\td2\t1\n")
    manifest = train(f"beir:{folder}", tmp_path / "out")
    assert manifest["pairs"] == {"count": 3, "with_negatives": 0, "of_unknown_passages": 1}
    assert {p.passage_id for p in beir.read_pairs(tmp_path / "out")} == {"d0", "d1", "d2"}


def test_gzipped_judgments(folder, tmp_path):
    path = folder / "qrels/test.tsv"
    (folder / "qrels/test.tsv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert collect(f"beir:{folder}", tmp_path / "out")["judgments"]["test"]["judgments"] == 2


def test_texts_are_equal_after_cleaning(tmp_path):
    (tmp_path / "f.tsv").write_text("a  heart\tone\na heart\ttwo\nother\tthree\n")
    manifest = train(f"pairs:{tmp_path / 'f.tsv'}", tmp_path / "out")
    assert manifest["queries"]["count"] == 2


# --- a set of ids in eight bytes each


def test_id_set_is_a_set():
    rng = np.random.default_rng(0)
    names = [f"id-{n}" for n in rng.integers(0, 5000, size=4000)]
    ids, reference = IdSet(), set(names)
    for name in names:
        ids.add(name)
    assert all(f"id-{n}" in ids for n in range(5000) if f"id-{n}" in reference)
    assert not any(f"id-{n}" in ids for n in range(5000) if f"id-{n}" not in reference)
    repeated = {name for name in reference if names.count(name) > 1}
    assert {name for name in reference if name in ids.repeated()} == repeated


# --- memory


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path):
    """1,000,000 passages go through with at most 1.5 times the peak of 100,000."""
    program = (
        "import sys, resource; from pathlib import Path; sys.path.insert(0, '.');"
        "from dpr.collections import writer; from dpr.collections.records import *;"
        "n = int(sys.argv[1]); words = 'heart lung liver bone'.split();"
        "passages = (Passage(f'doc-{i}', words[i % 4], f'A study of {words[i % 3]} number {i}.')"
        " for i in range(n));"
        "c = Collection(passages, [Query('q', 'x')], {'test': [Judgment('q', 'doc-0', 1)]}, {});"
        "writer.write_collection(c, Path(sys.argv[2]), 'synthetic');"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = {}
    for count in (100_000, 1_000_000):
        command = [sys.executable, "-c", program, str(count), str(tmp_path / str(count))]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks[count] = int(done.stdout.split()[-1])
    assert peaks[1_000_000] < 1.5 * peaks[100_000], peaks
