"""`medline-2021`: known-item retrieval in 18,440 MEDLINE citations of 2021.

As a collection, a query is a title that ends with a question mark, and the passage to find is its
abstract without the title. As training data, the other titles are paired with their abstracts.
"""

from functools import cache
from typing import Any

from dpr.records.types import Judgment, Pair, Passage, Query
from dpr.sources.medline_xml import PACKAGE, Citation, Source, citations_with_abstract
from dpr.sources.sampling import hold_out
from dpr.sources.types import Collection, Training

SOURCE = Source(
    "pubmed21n1298.xml.gz",
    "53dda2150dfe6b6db36045b0536b407e3f2f497d7d8ab0e38386eb29be7306cb",
    citations=20_788,
    passages=18_445,
)


def collection() -> Collection:
    citations = _read()
    asked = [c for c in citations if _is_question(c)]
    return Collection(
        passages=map(_abstract, citations),
        queries=[_title(c) for c in asked],
        qrels={"test": [_judgment(c) for c in asked]},
        source=_source(),
        ids_of="medline-2021",
    )


def training(held_out: int, seed: int) -> Training:
    """Titles with their abstracts, but for the titles that are queries of the collection."""
    citations = [c for c in _read() if c.title.strip() and not _is_question(c)]
    valid = hold_out([_query_id(c) for c in citations], held_out, seed)
    parts = {
        "train": [c for c in citations if _query_id(c) not in valid],
        "valid": [c for c in citations if _query_id(c) in valid],
    }
    return Training(
        passages=map(_abstract, citations),
        queries=[_title(c) for c in citations],
        qrels={name: [_judgment(c) for c in part] for name, part in parts.items()},
        pairs=[Pair(_query_id(c), c.pmid) for c in parts["train"]],
        source=_source() | {"held_out": held_out, "held_out_seed": seed},
        held_out=valid,
        ids_of="medline-2021",
    )


@cache
def _read() -> list[Citation]:
    """Five citations come in two versions; the later one is kept."""
    return list({c.pmid: c for c in citations_with_abstract(SOURCE)}.values())


def _is_question(citation: Citation) -> bool:
    return citation.title.strip().endswith("?")


def _query_id(citation: Citation) -> str:
    return f"title-{citation.pmid}"


def _title(citation: Citation) -> Query:
    return Query(_query_id(citation), citation.title)


def _abstract(citation: Citation) -> Passage:
    return Passage(citation.pmid, "", citation.abstract)


def _judgment(citation: Citation) -> Judgment:
    return Judgment(_query_id(citation), citation.pmid, 1)


def _source() -> dict[str, Any]:
    superseded = SOURCE.passages - len(_read())
    return {"package": PACKAGE, **SOURCE._asdict(), "superseded_versions": superseded}
