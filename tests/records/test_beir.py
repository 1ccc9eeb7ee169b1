import pytest

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Judgment, Pair, Passage, Query


def test_what_is_written_is_read(tmp_path):
    passages = [Passage("1", "", "caf\u00e9"), Passage("x-2", "title", "")]
    beir.write_passages(tmp_path, passages)
    queries = [Query("007", "who?"), Query("a", "x", mixture_source=2), Query("b", "y", True)]
    beir.write_queries(tmp_path, queries)
    beir.write_pairs(tmp_path, [Pair("007", "1", ("x-2",))])
    beir.write_qrels(tmp_path, "test", [Judgment("007", "1", 2), Judgment("007", "x-2", 0)])
    assert list(beir.read_passages(tmp_path)) == passages
    assert beir.read_queries(tmp_path) == {query.id: query for query in queries}
    assert (tmp_path / "queries.jsonl").read_text().splitlines() == [
        '{"_id": "007", "text": "who?"}',
        '{"_id": "a", "text": "x", "mixture_source": 2}',
        '{"_id": "b", "text": "y", "is_passage": true}',
    ]
    assert beir.read_pairs(tmp_path) == [Pair("007", "1", ("x-2",))]
    assert beir.read_qrels(tmp_path, "test") == {"007": {"1": 2, "x-2": 0}}


def test_the_encoded_text(tmp_path):
    passages = [("1", "A title", "a text"), ("2", "", "a text"), ("3", "A title", "")]
    beir.write_passages(tmp_path, [Passage(*row) for row in passages])
    texts = list(Corpus(tmp_path, ". ").texts())
    assert texts == [("1", "A title. a text"), ("2", "a text"), ("3", "A title")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", r"corpus\.jsonl:2: not a line of JSON"),
        ("", r"corpus\.jsonl:2: not a line of JSON"),
        ("[1]", r"corpus\.jsonl:2: must be a JSON object"),
        ('{"text": "a"}', r"corpus\.jsonl:2: '_id' must be text, not None"),
        ('{"_id": 3, "text": "a"}', r"corpus\.jsonl:2: '_id' must be text, not 3"),
        ('{"_id": "a b", "text": "a"}', r"corpus\.jsonl:2: '_id' must be an id without white"),
        ('{"_id": "", "text": "a"}', r"corpus\.jsonl:2: '_id' must be an id"),
        ('{"_id": "2"}', r"corpus\.jsonl:2: 'text' must be text, not None"),
    ],
)
def test_a_bad_passage_names_file_and_line(tmp_path, line, message):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "1", "text": "a"}\n' + line + "\n")
    with pytest.raises(InputError, match=message):
        list(beir.read_passages(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q\td\t1\n", r"test\.tsv:1: the header must be"),
        (beir.QRELS_HEADER + "\nq\td\n", r"test\.tsv:2: .*not `query TAB"),
        (beir.QRELS_HEADER + "\nq\td\t1.5\n", r"test\.tsv:2: .*integer grade"),
        (beir.QRELS_HEADER + f"\nq\td\t{2**20}\n", r"test\.tsv:2: .*integer grade"),
        (beir.QRELS_HEADER + "\nq\td\t1\nq\td\t2\n", r"test\.tsv:3: 'd' is judged twice for 'q'"),
        ("", r"test\.tsv: empty"),
    ],
)
def test_bad_judgments_name_file_and_line(tmp_path, text, message):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        beir.read_qrels(tmp_path, "test")


def test_missing_and_undecodable_files(tmp_path):
    with pytest.raises(InputError, match=r"corpus\.jsonl: no such file"):
        list(beir.read_passages(tmp_path))
    (tmp_path / "corpus.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"corpus\.jsonl:1: not UTF-8"):
        list(beir.read_passages(tmp_path))


def test_a_writer_that_fails_leaves_no_file(tmp_path):
    def passages():
        yield Passage("1", "", "a")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        beir.write_passages(tmp_path, passages())
    assert not (tmp_path / "corpus.jsonl").exists()


@pytest.mark.parametrize("source", ["0", "-1", "1.0", '"2"', "true", "null"])
def test_a_source_that_is_no_number(tmp_path, source):
    lines = [
        '{"_id": "a", "text": "x"}',
        f'{{"_id": "b", "text": "x", "mixture_source": {source}}}',
    ]
    (tmp_path / "queries.jsonl").write_text("\n".join(lines))
    message = r"queries\.jsonl:2: 'mixture_source' must be a whole number"
    with pytest.raises(InputError, match=message):
        beir.read_queries(tmp_path)
