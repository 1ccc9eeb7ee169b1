"""`medline` and `medline-2021`: two collections in files of a PyPI package.

`medline`: 12,189 English abstracts of the 1970s; topics and judgments come from the MeSH headings
assigned by NLM's indexers (`dpr.sources.mesh`).

`medline-2021`: known-item retrieval in 18,440 abstracts. A query of the collection is a title that
ends with a question mark; its abstract, without the title, is relevant. The other titles train.
"""

from functools import cache
from typing import Any

from dpr.records.types import Judgment, Pair, Passage, Query
from dpr.settings import MedlineSettings
from dpr.sources import mesh
from dpr.sources.medline_xml import PACKAGE, Citation, PackagedFile, citations_with_abstract
from dpr.sources.sampling import draw, held_out_by, hold_out
from dpr.sources.types import Collection, Request, Training

FILE = PackagedFile(
    "pubmed20n0014.xml.gz",
    "adb1bf5d1dac5e786eb2043586895e4aca80e3eaa293474c5afc936ce43d88e9",
    citations=30_000,
    passages=12_189,
)
FILE_2021 = PackagedFile(
    "pubmed21n1298.xml.gz",
    "53dda2150dfe6b6db36045b0536b407e3f2f497d7d8ab0e38386eb29be7306cb",
    citations=20_788,
    passages=18_445,
)


def collection(request: Request) -> Collection:
    citations, topics = _read(request.data.medline)
    return Collection(
        passages=map(_passage, citations),
        queries=_queries(topics["valid"] + topics["test"]),
        qrels={split: _judgments(topics[split]) for split in ("valid", "test")},
        description=_description(topics),
        id_space="medline",
    )


def training(request: Request) -> Training:
    """Training topics with their passages of grade 2; the validation topics validate."""
    citations, topics = _read(request.data.medline)
    pairs = [Pair(topic.id, pmid) for topic in topics["train"] for pmid in topic.major]
    return Training(
        passages=map(_passage, citations),
        queries=_queries(topics["train"] + topics["valid"]),
        qrels={split: _judgments(topics[split]) for split in ("train", "valid")},
        pairs=draw(pairs, request.data.train_limit, request.data.held_out_seed),
        description=_description(topics),
        id_space="medline",
    )


@cache
def _read(settings: MedlineSettings) -> tuple[list[Citation], dict[str, list[mesh.Topic]]]:
    """The citations that are passages, and the topics of each split."""
    citations = citations_with_abstract(FILE, language="eng")
    indexed = [(c.pmid, c.headings) for c in citations]
    judged = mesh.topics(indexed, settings.min_relevant, settings.max_relevant, settings.min_major)
    # A training topic needs no more than one passage to pair with.
    trainable = mesh.topics(indexed, 1, settings.train_max_relevant, 1)
    return citations, mesh.split(judged, settings, trainable)


def _passage(citation: Citation) -> Passage:
    return Passage(citation.pmid, citation.title, citation.abstract)


def _queries(topics: list[mesh.Topic]) -> list[Query]:
    return [Query(topic.id, topic.text) for topic in topics]


def _judgments(topics: list[mesh.Topic]) -> list[Judgment]:
    return [Judgment(t.id, pmid, grade) for t in topics for pmid, grade in t.grades.items()]


def _description(topics: dict[str, list[mesh.Topic]]) -> dict[str, Any]:
    summaries = {split: mesh.summary(part) for split, part in topics.items()}
    return {"package": PACKAGE, **FILE._asdict(), "topics": summaries}


def collection_2021(request: Request) -> Collection:
    citations = _read_2021()
    asked = [c for c in citations if _is_question(c)]
    return Collection(
        passages=map(_abstract, citations),
        queries=[Query(_query_id(c), c.title) for c in asked],
        qrels={"test": _known_items(asked)},
        description=_description_2021(),
        id_space="medline-2021",
    )


def training_2021(request: Request) -> Training:
    """Titles that are not questions, each with its abstract."""
    data = request.data
    citations = [c for c in _read_2021() if c.title.strip() and not _is_question(c)]
    valid = hold_out(map(_query_id, citations), data.held_out, data.held_out_seed)
    train = [c for c in citations if _query_id(c) not in valid]
    held_out = [c for c in citations if _query_id(c) in valid]
    pairs = [Pair(_query_id(c), c.pmid) for c in train]
    return Training(
        passages=map(_abstract, citations),
        queries=[Query(_query_id(c), c.title) for c in citations],
        qrels={"train": _known_items(train), "valid": _known_items(held_out)},
        pairs=draw(pairs, data.train_limit, data.held_out_seed),
        description=_description_2021() | held_out_by(data),
        held_out=valid,
        id_space="medline-2021",
    )


@cache
def _read_2021() -> list[Citation]:
    """The citations; of the five that have two versions, the later one."""
    return list({c.pmid: c for c in citations_with_abstract(FILE_2021)}.values())


def _is_question(citation: Citation) -> bool:
    return citation.title.strip().endswith("?")


def _query_id(citation: Citation) -> str:
    return f"title-{citation.pmid}"


def _abstract(citation: Citation) -> Passage:
    return Passage(citation.pmid, "", citation.abstract)


def _known_items(citations: list[Citation]) -> list[Judgment]:
    return [Judgment(_query_id(c), c.pmid, 1) for c in citations]


def _description_2021() -> dict[str, Any]:
    superseded = FILE_2021.passages - len(_read_2021())
    return {"package": PACKAGE, **FILE_2021._asdict(), "superseded_versions": superseded}
