"""Documents cut into passages: sizes, sentences, overlap, and what is written."""

import random
import re

import pytest
from helpers import collect, jsonl, train

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.settings import DataSettings, PassageSettings
from dpr.sources.cut import pieces


@pytest.mark.parametrize(
    ("text", "words", "overlap", "expected"),
    [
        ("", 3, 0, [""]),
        ("one two three", 3, 0, ["one two three"]),
        ("one two three four", 3, 0, ["one two three", "four"]),
        ("one two three four five", 3, 1, ["one two three", "three four five"]),
        ("It is. So two three four. Five", 4, 0, ["It is. So two", "three four. Five"]),
        ("A b c. D e f. G h i.", 5, 0, ["A b c.", "D e f.", "G h i."]),
        # the next part begins with the first sentence within the overlap
        ("A b c. D e. F g h i j. K", 6, 3, ["A b c. D e.", "D e. F g h i", "g h i j. K"]),
        (
            'He said "no." Then (yes!) he did not.',
            4,
            0,
            ['He said "no."', "Then (yes!) he did", "not."],
        ),
        ("心臓は動く。肺も動く。骨は", 6, 0, ["心臓は動く。", "肺も動く。", "骨は"]),
        ("ที่นี่", 2, 0, ["ที่นี่"]),  # a letter keeps its marks
        ("ที่นี่นี่", 2, 0, ["ที่นี่", "นี่"]),
        ("x" * 100, 2, 0, ["x" * 80, "x" * 20]),  # no text escapes the limit for want of a space
    ],
)
def test_pieces_by_hand(text, words, overlap, expected):
    assert list(pieces(text, words, overlap)) == expected


@pytest.mark.parametrize("seed", range(30))
def test_pieces_cover_a_text_and_keep_their_limits(seed):
    rng = random.Random(seed)
    words = [f"w{n}" + rng.choice(["", "", "", ".", "?"]) for n in range(rng.randint(1, 200))]
    most = rng.randint(2, 30)
    overlap = rng.randint(0, most // 2)
    end = 0  # words seen
    for number, piece in enumerate(pieces(" ".join(words), most, overlap)):
        found = piece.split()
        start = int(re.match(r"w(\d+)", found[0])[1])
        assert found == words[start : start + len(found)]
        assert 0 < len(found) <= most
        assert end - overlap <= start <= end if number else start == 0
        assert start + len(found) > end
        end = start + len(found)
    assert end == len(words)


LONG = "First part here. " * 3 + "The heart beats. " * 3
DOCUMENTS = [
    {"_id": "a", "title": "Heart", "text": LONG},
    {"_id": "b#0", "title": "", "text": "short"},
    {"_id": "c", "title": "Only a title", "text": ""},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine/qrels").mkdir(parents=True)
    (tmp_path / "mine/corpus.jsonl").write_bytes(jsonl(*DOCUMENTS))
    queries = [{"_id": q, "text": f"query {q}"} for q in ("1", "2", "a")]
    (tmp_path / "mine/queries.jsonl").write_bytes(jsonl(*queries))
    header = "query-id\tcorpus-id\tscore\n"
    (tmp_path / "mine/qrels/test.tsv").write_text(header + "1\ta\t1\n1\tgone\t1\na\tb#0\t1\n")
    (tmp_path / "mine/qrels/train.tsv").write_text(header + "2\ta\t1\n2\tc\t1\n")
    (tmp_path / "mine/qrels/dev.tsv").write_text(header + "1\ta\t1\n")
    return tmp_path / "mine"


CUT = PassageSettings(words=9, overlap=0)


def test_judgments_and_pairs_name_documents(folder, tmp_path):
    changes = {"passages": CUT, "drop_query_id": True}
    manifest = collect(f"beir:{folder}", tmp_path / "out", **changes)
    assert [tuple(p) for p in beir.read_passages(tmp_path / "out")] == [
        ("a#0", "Heart", "First part here. First part here. First part here."),
        ("a#1", "Heart", "The heart beats. The heart beats. The heart beats."),
        ("b#0#0", "", "short"),
        ("c#0", "Only a title", ""),
    ]
    passages = manifest["passages"]
    assert passages["count"] == 4 and passages["documents"] == 3
    assert (passages["first"], passages["last"]) == ("a", "c")
    assert beir.read_qrels(tmp_path / "out", "test") == {"1": {"a": 1, "gone": 1}, "a": {"b#0": 1}}
    assert manifest["judgments"]["test"]["unknown_passages"] == 1
    queries = beir.read_queries(tmp_path / "out")
    assert queries["a"].is_passage and not queries["1"].is_passage
    corpus = Corpus(tmp_path / "out", ". ", cut=True)
    assert list(corpus.documents) == ["a", "b#0", "c"]
    assert corpus.passage_counts({"a", "c"}) == {"a": 2, "c": 1}

    manifest = train(f"beir:{folder}", tmp_path / "train", **changes)
    assert [p.passage_id for p in beir.read_pairs(tmp_path / "train")] == ["a", "c"]
    assert manifest["pairs"]["of_unknown_passages"] == 0


def test_two_documents_of_one_id_are_named_by_their_documents(folder, tmp_path):
    (folder / "corpus.jsonl").write_bytes(jsonl(*DOCUMENTS, DOCUMENTS[0]))
    with pytest.raises(InputError, match="passages 1 and 4 have the same id 'a'"):
        collect(f"beir:{folder}", tmp_path / "out", passages=CUT, drop_query_id=True)


def test_without_words_nothing_is_cut(folder, tmp_path):
    whole = {"passages": PassageSettings(words=None, overlap=0), "drop_query_id": True}
    manifest = collect(f"beir:{folder}", tmp_path / "out", **whole)
    assert [p.id for p in beir.read_passages(tmp_path / "out")] == ["a", "b#0", "c"]
    assert "documents" not in manifest["passages"]


def test_an_overlap_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="overlap is 5, but words is null"):
        PassageSettings(words=None, overlap=5)
    with pytest.raises(ValueError, match="overlap 5 is more than half of words 9"):
        PassageSettings(words=9, overlap=5)
    assert not DataSettings.model_construct(passages=PassageSettings(words=None, overlap=0)).cut
