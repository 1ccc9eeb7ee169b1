"""`medline`: the packaged collection, 12,189 citations of the 1970s judged by NLM's indexers.

A passage is an English citation with an abstract. Topics and judgments come from the MeSH headings
(`dpr.sources.mesh`), the file from a PyPI package (`dpr.sources.medline_xml`).
"""

from functools import cache
from typing import Any

from dpr.records.types import Judgment, Pair, Passage, Query
from dpr.settings import MedlineSettings
from dpr.sources import mesh
from dpr.sources.medline_xml import PACKAGE, Citation, Source, citations_with_abstract
from dpr.sources.types import Collection, Training

SOURCE = Source(
    "pubmed20n0014.xml.gz",
    "adb1bf5d1dac5e786eb2043586895e4aca80e3eaa293474c5afc936ce43d88e9",
    citations=30_000,
    passages=12_189,
)


def collection(settings: MedlineSettings) -> Collection:
    """The passages, with the validation and test topics."""
    citations, splits = _read(settings)
    return Collection(
        passages=map(_passage, citations),
        queries=_queries(splits, ("valid", "test")),
        qrels={name: _judgments(splits[name]) for name in ("valid", "test")},
        source=_source(splits),
        ids_of="medline",
    )


def training(settings: MedlineSettings) -> Training:
    """Training topics, each with its passages of grade 2; the validation topics validate."""
    citations, splits = _read(settings)
    return Training(
        passages=map(_passage, citations),
        queries=_queries(splits, ("train", "valid")),
        qrels={name: _judgments(splits[name]) for name in ("train", "valid")},
        pairs=[Pair(t.id, pmid) for t in splits["train"] for pmid in t.major],
        source=_source(splits),
        ids_of="medline",
    )


@cache
def _read(settings: MedlineSettings) -> tuple[list[Citation], dict[str, list[mesh.Topic]]]:
    """The citations that are passages, and the topics of each split."""
    kept = citations_with_abstract(SOURCE, language="eng")
    indexed = [(c.pmid, c.headings) for c in kept]
    judged = mesh.topics(indexed, settings.min_relevant, settings.max_relevant, settings.min_major)
    # A training topic needs no more than one passage to pair with.
    trainable = mesh.topics(indexed, 1, settings.train_max_relevant, 1)
    return kept, mesh.split(judged, settings, trainable)


def _passage(citation: Citation) -> Passage:
    return Passage(citation.pmid, citation.title, citation.abstract)


def _queries(splits: dict[str, list[mesh.Topic]], names: tuple[str, ...]) -> list[Query]:
    return [Query(topic.id, topic.text) for name in names for topic in splits[name]]


def _judgments(topics: list[mesh.Topic]) -> list[Judgment]:
    return [Judgment(t.id, pmid, grade) for t in topics for pmid, grade in t.grades.items()]


def _source(splits: dict[str, list[mesh.Topic]]) -> dict[str, Any]:
    topics = {name: mesh.summary(part) for name, part in splits.items()}
    return {"package": PACKAGE, **SOURCE._asdict(), "topics": topics}
