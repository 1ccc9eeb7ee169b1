"""The two halves of the reference experiment: `trec-covid` and `msmarco-tiny`.

Both check their counts, so that different data under the same name is an error.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.bm25.java import start_java
from dpr.records.types import Item, Query
from dpr.sources import irds, text_pairs
from dpr.sources.examples import Example
from dpr.sources.reading import Findings
from dpr.sources.types import Collection, Request, Training

TREC_COVID: dict[str, Any] = {
    "id": "beir/trec-covid",
    "topics": "covid-round5",
    "passages": 171_332,
    "queries": 50,
}
MSMARCO_TINY: dict[str, Any] = {
    "url": "https://storage.googleapis.com/unicamp-dl/ia368dd_2023s1/msmarco/"
    "msmarco_triples.train.tiny.tsv",
    "examples": 11_000,
}


def trec_covid(request: Request) -> Collection:
    """BEIR's TREC-COVID: its documents and judgments, and the topics of round 5 from pyserini."""
    identifier, topics, field = TREC_COVID["id"], TREC_COVID["topics"], request.data.topic_field
    dataset = irds.load(identifier, "docs", "qrels")
    queries = pyserini_topics(topics, field)
    # Counted while read, since ir_datasets' `docs_count` only repeats its catalog.
    passages = irds.passages(dataset.docs_iter(), identifier)
    return Collection(
        passages=_counted(passages, TREC_COVID["passages"], identifier, "documents"),
        queries=list(_counted(queries, TREC_COVID["queries"], topics, "topics")),
        qrels={"test": irds.judgments(dataset)},
        description={"ir_datasets": identifier, "topics": topics, "field": field},
        id_space=irds.id_space(identifier),
    )


def pyserini_topics(name: str, field: str) -> list[Query]:
    """One field of pyserini's topics; InputError if they lack it or cannot be fetched."""
    start_java()
    from pyserini.search import get_topics

    try:
        topics = get_topics(name)
    except Exception as error:  # of many types
        raise InputError(
            f"topics {name!r}: pyserini cannot get them ({error}); without a network, put their "
            "file into ~/.cache/pyserini/topics-and-qrels"
        ) from None
    for values in topics.values():
        if field not in values:
            raise InputError(
                f"params.yaml: data.topic_field: {name!r} has no field {field!r}; choose one of: "
                f"{', '.join(values)}"
            )
    queries = [Query(str(number), values[field]) for number, values in topics.items()]
    return sorted(queries, key=lambda query: (len(query.id), query.id))  # Java has no order


def msmarco_tiny(request: Request) -> Training:
    """The first 11,000 training triples of MS MARCO: one file."""

    def read(files: list[Path], separator: str, findings: Findings) -> Iterator[Example]:
        triples = text_pairs.read_triples(files, separator, findings)
        return _counted(triples, MSMARCO_TINY["examples"], str(files[0]), "triples")

    located = request._replace(location=MSMARCO_TINY["url"])
    return text_pairs.from_file(located, read, "triples")


def _counted(items: Iterable[Item], expected: int, where: str, what: str) -> Iterator[Item]:
    """The items; after the last one, InputError if there were not as many as expected."""
    count = 0
    for item in items:
        count += 1
        yield item
    if count != expected:
        raise InputError(f"{where}: {count:,} {what}; this source has {expected:,}")
