"""The two halves of the reference experiment: `trec-covid` and `msmarco-tiny`.

Both check their counts, so that other data under their name is an error.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.bm25.java import start_java
from dpr.records.types import Passage, Query
from dpr.sources import irds, text_pairs
from dpr.sources.text_pairs import Example
from dpr.sources.types import Collection, Stream, Training

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


def trec_covid(topic_field: str) -> Collection:
    """BEIR's TREC-COVID: its documents and judgments, the topics of round 5 by pyserini.

    Raises:
        InputError: if the number of topics is not the promised one; and that of documents, when
            they have been read.
    """
    identifier, topics = TREC_COVID["id"], TREC_COVID["topics"]
    dataset = irds.load(identifier, "docs", "qrels")
    queries = pyserini_topics(topics, topic_field)
    _check_count(topics, "topics", len(queries), TREC_COVID["queries"])
    return Collection(
        passages=_all_of_covid(irds.passages(dataset.docs_iter(), identifier)),
        queries=queries,
        qrels={"test": Stream(lambda: irds.judgments(dataset))},
        source={"ir_datasets": identifier, "topics": topics, "field": topic_field},
        ids_of=irds.ids_of(identifier),
    )


def _all_of_covid(passages: Iterator[Passage]) -> Iterator[Passage]:
    """Counted as they come: `docs_count` of ir_datasets says what its catalog says."""
    count = 0
    for passage in passages:
        count += 1
        yield passage
    _check_count(TREC_COVID["id"], "documents", count, TREC_COVID["passages"])


def pyserini_topics(name: str, field: str) -> list[Query]:
    """One field of the topics that pyserini knows by that name; ids as strings.

    Raises:
        InputError: for a field that the topics do not have, or topics that cannot be fetched.
    """
    start_java()
    from pyserini.search import get_topics

    try:
        topics = get_topics(name)
    except Exception as error:  # pyserini and Java raise many kinds
        raise InputError(
            f"topics {name!r}: pyserini cannot get them ({error}); without a network, put their "
            "file into ~/.cache/pyserini/topics-and-qrels"
        ) from None
    for values in topics.values():
        if field not in values:
            raise InputError(
                f"params.yaml: data.topic_field: {field!r}; {name!r} has {', '.join(values)}"
            )
    queries = [Query(str(number), values[field]) for number, values in topics.items()]
    return sorted(queries, key=lambda query: (len(query.id), query.id))  # Java has no order


def msmarco_tiny(downloads: Path, limit: int | None, held_out: int, seed: int) -> Training:
    """The first 11,000 of MS MARCO's training triples, one file, or `limit` drawn from them."""
    url = MSMARCO_TINY["url"]
    return text_pairs.from_file(url, _all_of_tiny, downloads, limit, held_out, seed)


def _all_of_tiny(path: Path) -> Iterator[Example]:
    count = 0
    for triple in text_pairs.read_triples(path):
        count += 1
        yield triple
    _check_count(str(path), "triples", count, MSMARCO_TINY["examples"])


def _check_count(name: str, what: str, found: int, expected: int) -> None:
    if found != expected:
        raise InputError(f"{name}: {found:,} {what}, but the name promises {expected:,}")
