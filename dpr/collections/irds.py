"""`irds:ID`: any ir_datasets dataset, streamed; and the reference experiment's two short names."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import ir_datasets

from dpr.collections.records import Collection, Judgment, Pair, Passage, Query, Training
from dpr.collections.triples import Example, from_examples, hold_out, take
from dpr.errors import InputError

TREC_COVID = {"id": "beir/trec-covid", "topics": "covid-round5", "passages": 171_332, "queries": 50}
MSMARCO_TINY = {"id": "msmarco-passage/train/triples-small", "examples": 11_000}


def collection(identifier: str) -> Collection:
    """Documents, queries and judgments of a dataset."""
    dataset = _load(identifier, "docs", "queries", "qrels")
    return Collection(
        passages=_passages(dataset.docs_iter(), identifier),
        queries=[Query(str(q.query_id), q.default_text()) for q in dataset.queries_iter()],
        qrels={"test": _judgments(dataset)},
        source={"ir_datasets": identifier},
    )


def trec_covid(topic_field: str) -> Collection:
    """BEIR's TREC-COVID: its documents and judgments, the topics of round 5 by pyserini.

    Raises:
        InputError: where the counts that the name promises are not there.
    """
    identifier, expected = TREC_COVID["id"], TREC_COVID
    dataset = _load(identifier, "docs", "qrels")
    _promise(identifier, "documents", dataset.docs_count(), expected["passages"])
    queries = pyserini_topics(expected["topics"], topic_field)
    _promise(expected["topics"], "topics", len(queries), expected["queries"])
    return Collection(
        passages=_passages(dataset.docs_iter(), identifier),
        queries=queries,
        qrels={"test": _judgments(dataset)},
        source={"ir_datasets": identifier, "topics": expected["topics"], "field": topic_field},
    )


def pyserini_topics(name: str, field: str) -> list[Query]:
    """Topics that pyserini knows by name, one of their fields; ids as strings.

    Raises:
        InputError: for a field that the topics do not have, or topics that cannot be fetched.
    """
    from dpr.lucene import start_java

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


def training(identifier: str, limit: int | None, held_out: int, seed: int) -> Training:
    """Triples of a dataset where it has them, else its relevant judged documents."""
    dataset = _load(identifier, "docs", "queries")
    if dataset.has_docpairs():
        triples = list(take(dataset.docpairs_iter(), limit))
        triples = [tuple(map(str, (t.query_id, t.doc_id_a, t.doc_id_b))) for t in triples]
        wanted = {query_id for query_id, _, _ in triples}
        queries = _texts(dataset.queries_iter(), wanted)
        passages = _lookup(dataset, {d for _, *pair in triples for d in pair}, identifier)
        unknown = next((q for q in sorted(wanted) if q not in queries), None)
        if unknown is not None:
            raise InputError(f"irds:{identifier}: a triple names query {unknown!r}, not there")
        examples = [Example(queries[q], passages[a], passages[b]) for q, a, b in triples]
        return from_examples(examples, held_out, seed, {"ir_datasets": identifier})
    if not dataset.has_qrels():
        raise InputError(f"irds:{identifier}: neither training triples nor judgments")
    relevant = [j for j in _judgments(dataset) if j.grade > 0]
    relevant = list(take(relevant, limit))
    valid = hold_out([j.query_id for j in relevant], held_out, seed)
    parts = {
        "train": [j for j in relevant if j.query_id not in valid],
        "valid": [j for j in relevant if j.query_id in valid],
    }
    texts = _texts(dataset.queries_iter(), {j.query_id for j in relevant})
    return Training(
        passages=_passages(dataset.docs_iter(), identifier),
        queries=[Query(query_id, text) for query_id, text in texts.items()],
        qrels=parts,
        pairs=[Pair(j.query_id, j.passage_id) for j in parts["train"]],
        source={"ir_datasets": identifier, "held_out": held_out, "held_out_seed": seed},
    )


def msmarco_tiny(limit: int | None, held_out: int, seed: int) -> Training:
    """The first 11,000 triples of MS MARCO's small training file."""
    examples = MSMARCO_TINY["examples"]
    return training(MSMARCO_TINY["id"], min(limit or examples, examples), held_out, seed)


def _load(identifier: str, *needs: str) -> Any:
    try:
        dataset = ir_datasets.load(identifier)
    except KeyError:
        raise InputError(
            f"irds:{identifier}: ir_datasets has no such dataset; see its catalogue"
        ) from None
    for need in needs:
        if not getattr(dataset, f"has_{need}")():
            raise InputError(f"irds:{identifier}: the dataset has no {need}; another id may")
    return dataset


def _passages(documents: Iterable[Any], identifier: str) -> Iterator[Passage]:
    """Title and text apart where a document is these two, else all that it calls its text."""
    for document in documents:
        if not hasattr(document, "default_text"):
            raise InputError(
                f"irds:{identifier}: a {type(document).__name__} has no text of its own to encode; "
                "write it as a BEIR folder"
            )
        title, text = getattr(document, "title", None), getattr(document, "text", None)
        whole = document.default_text()
        if title is None or text is None or f"{title} {text}".split() != whole.split():
            title, text = "", whole
        yield Passage(str(document.doc_id), title, text)


def _judgments(dataset: Any) -> Iterator[Judgment]:
    for row in dataset.qrels_iter():
        yield Judgment(str(row.query_id), str(row.doc_id), int(row.relevance))


def _texts(queries: Iterable[Any], wanted: set[str]) -> dict[str, str]:
    found = ((str(query.query_id), query) for query in queries)
    return {query_id: query.default_text() for query_id, query in found if query_id in wanted}


def _lookup(dataset: Any, wanted: set[str], identifier: str) -> dict[str, str]:
    """Texts of documents by id, from the dataset's store, in blocks."""
    store, found = dataset.docs_store(), {}
    ids = sorted(wanted)
    for start in range(0, len(ids), 10_000):
        documents = store.get_many(ids[start : start + 10_000])
        found |= {str(key): document.default_text() for key, document in documents.items()}
    missing = next(itertools.filterfalse(found.__contains__, ids), None)
    if missing is not None:
        raise InputError(f"irds:{identifier}: a triple names document {missing!r}, not there")
    return found


def _promise(name: str, what: str, found: int, expected: int) -> None:
    if found != expected:
        raise InputError(f"{name}: {found:,} {what}, where the name promises {expected:,}")
