"""Passages by id, and query words in a passage, by cases written by hand."""

import pytest

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.types import Passage
from tools.passages import Lookup, Words


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
