"""Every source through the registry to disk; repairs and oddities are counted."""

import gzip
import random
import tracemalloc

import ftfy
import pytest
from helpers import HEADER, collect, jsonl, train

from dpr.base.errors import InputError
from dpr.base.files import sha256
from dpr.records import beir
from dpr.records.types import Judgment, Passage, Query
from dpr.sources import write
from dpr.sources.checked import clean
from dpr.sources.types import Collection


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


def test_gzipped_files(folder, tmp_path):
    for path in (folder / "corpus.jsonl", folder / "qrels/test.tsv"):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    manifest = collect(f"beir:{folder}", tmp_path / "out")
    assert manifest["passages"]["count"] == 4
    assert manifest["judgments"]["test"]["judgments"] == 2


def test_a_beir_folder_to_train_on(folder, tmp_path):
    manifest = train(f"beir:{folder}", tmp_path / "out")
    assert manifest["pairs"]["count"] == 1
    held = beir.read_qrels(tmp_path / "out", "valid").keys()
    trained = {pair.query_id for pair in beir.read_pairs(tmp_path / "out")}
    assert len(held) == 1
    assert held | trained == {"q1", "q2"}


def test_repairs_are_counted(folder, tmp_path):
    rows = [
        {"_id": "d0", "text": "It\u00e2\u20ac\u2122s  here"},  # mojibake
        {"_id": "d1", "text": "a\0b"},  # NUL
        {"_id": "d2", "title": "", "text": ""},  # empty
        {"_id": "d3", "text": "two  spaces are no damage"},
    ]
    (folder / "corpus.jsonl").write_bytes(jsonl(*rows))
    queries = {"_id": "q0", "text": "caf\u00c3\u00a9"}, {"_id": "q1", "text": " ?"}
    (folder / "queries.jsonl").write_bytes(jsonl(*queries))
    manifest = collect(f"beir:{folder}", tmp_path / "out")
    assert (manifest["passages"]["repaired"], manifest["queries"]["repaired"]) == (2, 1)
    texts = {query.text for query in beir.read_queries(tmp_path / "out").values()}
    assert texts == {"caf\u00e9", "?"}
    assert manifest["passages"]["empty"] == 1
    texts = [p.text for p in beir.read_passages(tmp_path / "out")]
    assert texts == ["It's here", "ab", "", "two spaces are no damage"]


def test_byte_order_mark_and_crlf_are_dropped(folder, tmp_path):
    path = folder / "qrels/test.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    collect(f"beir:{folder}", tmp_path / "out")
    assert beir.read_qrels(tmp_path / "out", "test") == {"q0": {"d0": 1}, "q1": {"d1": 2}}


def test_judgments_of_unknown_passages_and_negative_grades_are_kept_and_counted(
    folder, tmp_path, capsys
):
    (folder / "qrels/test.tsv").write_bytes(HEADER + b"q0\td0\t1\nq0\tgone\t0\nq0\td1\t-1\n")
    manifest = collect(f"beir:{folder}", tmp_path / "out")
    counts = {"judgments": 3, "relevant": 1, "negative_grade": 1, "unknown_passages": 1}
    counts |= {"repeated": 0, "queries": 1, "sha256": sha256(tmp_path / "out/qrels/test.tsv")}
    assert manifest["judgments"]["test"] == counts
    assert "1 judgments name passages that are not in the collection" in capsys.readouterr().err
    assert beir.read_qrels(tmp_path / "out", "test")["q0"] == {"d0": 1, "gone": 0, "d1": -1}


@pytest.mark.parametrize("split", ["test", "valid"])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (b"q0\t0\t1\nq1\t1\t2\n", r"none of the 2 relevant .*: '0' is judged, .* 'd0'"),
        (b"q0\td0\t0\nq1\td1\t-1\n", r"none of the 2 judgments has a grade above 0"),
        (b"q0\td0\t0\nq1\tgone\t1\n", r"none of the 1 relevant passages is in the collection"),
    ],
)
def test_judgments_that_nothing_can_meet_are_refused(folder, tmp_path, split, rows, message):
    queries = [*beir.read_queries(folder).values()]
    parsed = [row.split("\t") for row in rows.decode().splitlines()]
    qrels = {"test": [Judgment("q0", "d0", 1)]}
    qrels[split] = [Judgment(query, passage, int(grade)) for query, passage, grade in parsed]
    data = Collection(
        passages=beir.read_passages(folder), queries=queries, qrels=qrels, description={}
    )
    with pytest.raises(InputError, match=rf"mine: qrels {split}: {message}"):
        write.write_collection(data, tmp_path / "out", "mine")


def test_relevant_passages_out_of_reach_are_reported(tmp_path, capsys):
    passages = [Passage(f"d{i}", "", "text") for i in range(4)]
    qrels = [Judgment("q0", passage.id, 1) for passage in passages]
    lost = [Judgment("q1", "gone", 1), Judgment("q0", "gone", 0)]
    for judgments in (qrels, qrels + lost):
        queries = [Query(q, q) for q in sorted({judgment.query_id for judgment in judgments})]
        data = Collection(
            passages=passages, queries=queries, qrels={"test": judgments}, description={}
        )
        write.write_collection(data, tmp_path, "mine")
        lines = capsys.readouterr().err
        assert ("qrels" in lines) == (judgments is not qrels)
    assert "mine: qrels test: 2 judgments name passages that are not in the collection" in lines
    assert "1 of the 5 relevant" in lines and "1 of 2 topics have no relevant passage" in lines


def test_the_judged_split_neither_trains_nor_validates(folder, tmp_path):
    (folder / "qrels/dev.tsv").write_bytes(HEADER + b"q0\td2\t1\n")
    train(f"beir:{folder}", tmp_path / "a")
    assert beir.read_qrels(tmp_path / "a", "valid").keys() == {"q0"}
    train(f"beir:{folder}", tmp_path / "b", split="dev")
    assert beir.read_qrels(tmp_path / "b", "valid").keys() < {"q1", "q2"}
    with pytest.raises(InputError, match=r"data\.split: 'train' is for training"):
        train(f"beir:{folder}", tmp_path / "c", split="train")


def test_a_validation_split_of_nothing_relevant_is_passed_over(folder, tmp_path):
    (folder / "qrels/valid.tsv").write_bytes(HEADER)
    (folder / "qrels/dev.tsv").write_bytes(HEADER + b"q0\td2\t0\n")
    train(f"beir:{folder}", tmp_path / "out")
    assert len(beir.read_qrels(tmp_path / "out", "valid")) == 1


def test_training_pairs_of_unknown_passages_are_left_out_and_counted(folder, tmp_path, capsys):
    (folder / "qrels/train.tsv").write_bytes(
        HEADER + b"q0\td0\t1\nq1\tgone\t1\nq1\td1\t1\nq2\td2\t1\n"
    )
    (folder / "qrels/dev.tsv").write_bytes(HEADER + b"q0\td2\t1\n")
    manifest = train(f"beir:{folder}", tmp_path / "out")
    fingerprint = sha256(tmp_path / "out/pairs.jsonl")
    expected = {"count": 3, "with_negatives": 0, "of_unknown_passages": 1, "sha256": fingerprint}
    assert manifest["pairs"] == expected
    assert "25% of the training pairs (1) are left out" in capsys.readouterr().err
    assert {p.passage_id for p in beir.read_pairs(tmp_path / "out")} == {"d0", "d1", "d2"}


def test_a_query_with_the_id_of_a_passage_has_to_be_decided(folder, tmp_path):
    """As in ArguAna: asked for once, then counted."""
    queries = ({"_id": f"d{i}", "text": f"query {i}"} for i in range(3))
    (folder / "queries.jsonl").write_bytes(jsonl(*queries))
    (folder / "qrels/test.tsv").write_bytes(HEADER + b"d0\td1\t1\n")
    with pytest.raises(InputError, match=r"data\.drop_query_id: .*'d0' has the id of a passage"):
        collect(f"beir:{folder}", tmp_path / "out")
    for answer in (True, False):
        manifest = collect(f"beir:{folder}", tmp_path / "out", drop_query_id=answer)
        assert manifest["queries"]["with_the_id_of_a_passage"] == 1
        assert beir.read_queries(tmp_path / "out")["d0"].is_passage == answer


SNIPPETS = ["&amp;", "&lt;", "<b>", "\x1b[31m", "\0", "\n", "\t", "caf\u00c3\u00a9", "\ufb01"]


@pytest.mark.parametrize("alphabet", [[chr(i) for i in range(128)], [*"ab &;", *SNIPPETS]])
def test_plain_text_comes_out_as_from_ftfy(alphabet):
    rng = random.Random(0)
    for text in [*alphabet, *("".join(rng.choices(alphabet, k=8)) for _ in range(1000))]:
        assert clean(text) == " ".join(ftfy.fix_text(text).split())


def test_memory_hardly_grows_with_the_corpus(tmp_path):
    """A passage adds its id's hash, 8 bytes, and at most as much for a larger array."""
    peaks = {}
    for count in (10_000, 40_000):
        data = Collection(
            passages=(Passage(f"doc-{i}", "heart", f"Study number {i}.") for i in range(count)),
            queries=[Query("q", "x")],
            qrels={"test": [Judgment("q", "doc-0", 1)]},
            description={},
        )
        tracemalloc.start()
        write.write_collection(data, tmp_path, "many")
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[40_000] - peaks[10_000] < 30_000 * 32, peaks
