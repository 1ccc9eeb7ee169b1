"""A collection in words, passages by id, and query words in a passage, by cases written by hand."""

import pytest

from dpr.base.errors import InputError
from dpr.base.files import write_json
from dpr.records import beir
from dpr.records.types import Judgment, Passage, Query
from tools.passages import COLLECTION, Document, Lookup, Words, examples, size


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"count": 12189}, "12,189 passages of mine"),
        ({"count": 12189, "documents": 4321}, "12,189 passages of mine, cut from 4,321 documents"),
    ],
)
def test_size(here, counts, expected):
    write_json("data/manifest.json", {"collection": {"name": "mine", "passages": counts}})
    assert size() == expected


def test_examples_are_the_first_test_topics(here):
    beir.write_queries(COLLECTION, [Query(f"q{n}", f"topic {n}") for n in range(9)])
    judged = [Judgment(f"q{n}", f"d{m}", 0) for n in (7, 2, 8, 1) for m in range(2)]
    beir.write_qrels(COLLECTION, "test", judged)
    assert examples() == ["topic 7", "topic 2", "topic 8"]


def test_without_queries_there_is_no_example(here):
    beir.write_queries(COLLECTION, [])
    beir.write_qrels(COLLECTION, "test", [])
    assert examples() == []


def test_lookup(tmp_path):
    passages = [Passage(f"d{i}", "é" * i, f"line {i}\nand “more”") for i in range(20)]
    beir.write_passages(tmp_path, passages)
    lookup = Lookup(tmp_path)
    assert [lookup[p.id] for p in reversed(passages)] == passages[::-1]
    with pytest.raises(InputError, match=r"corpus\.jsonl: no passage 'x'"):
        lookup["x"]


def marked(query, text):
    return "".join(f"[{part}]" if hit else part for part, hit in Words(query).parts(text))


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("wound healing", "Healing of Wounds", "[Healing] of [Wounds]"),
        ("does zinc impair it", "impaired zincs do", "[impaired] [zincs] do"),  # "does" is common
        ("vitamin d", "vitamins D does do", "[vitamins] [D] does do"),
        ("T cell", "the T cells that tell", "the [T] [cells] that tell"),
        ("c++ (heart)", "a heart; c", "a [heart]; [c]"),
        ("the of", "the heart of", "the heart of"),
        ("deficiency", "zinc-deficient", "zinc-[deficient]"),
        ("straße", "STRASSE Straße", "[STRASSE] [Straße]"),
        ("<b>", "<b>", "<[b]>"),
        ("heart", "", ""),
    ],
)
def test_words(query, text, expected):
    assert marked(query, text) == expected


def test_parts_are_the_text():
    text = "Zinc, zinc and wounds; healing" * 3
    assert "".join(part for part, _ in Words("zinc wound").parts(text)) == text


def test_a_snippet_is_where_most_words_are():
    text = "zinc " + "x" * 5 + " filler" * 60 + " zinc in wound healing" + " filler" * 60
    found = Words("zinc wound healing").snippet(text, 100)
    assert "zinc in wound healing" in found
    assert found.startswith("… ")
    assert found.endswith(" …")
    assert len(found) <= 104


def test_a_short_text_is_its_snippet():
    assert Words("heart").snippet("the heart") == "the heart"
    assert Words("").snippet("y " * 300, 10) == "y y y y y …"


def test_a_snippet_of_a_text_without_spaces_has_its_length():
    found = Words("zinc").snippet("字" * 3000 + "。zinc")
    assert "zinc" in found
    assert len(found) < 300


@pytest.mark.parametrize(
    ("lengths", "found", "most", "shown", "name"),
    [
        ([5], 0, 5, [0], "whole text"),
        ([3, 3, 3], 1, 9, [0, 1, 2], "whole document: 3 passages"),
        ([3, 3, 3], 2, 9, [0, 1, 2], "whole document: 3 passages"),
        ([3, 3, 3], 2, 8, [1, 2], "passages 2 to 3 of 3"),
        ([9, 3, 3, 3, 9], 2, 9, [1, 2, 3], "passages 2 to 4 of 5"),
        ([3, 9, 3], 1, 9, [1], "passages 2 to 2 of 3"),
    ],
)
def test_a_document_around_a_passage(lengths, found, most, shown, name):
    texts = [chr(ord("a") + n) * length for n, length in enumerate(lengths)]
    document = Document.around(texts, found, Words(""), 0, most)
    assert document.name == name
    assert document.texts == [texts[n] for n in shown]
    assert document.texts[document.found] == texts[found]


def test_of_a_text_that_is_too_long_an_excerpt_is_shown():
    text = "filler " * 50 + "zinc" + " filler" * 50
    document = Document.around([text], 0, Words("zinc"), 0, 100)
    assert document.name == "longer excerpt"
    assert "zinc" in document.texts[0]
    assert len(document.texts[0]) <= 104


def test_neighbors_that_share_words_are_named():
    document = Document.around(["a b", "b c"], 0, Words(""), 1)
    assert document.name == "whole document: 2 passages (neighbors share up to 1 words)"
