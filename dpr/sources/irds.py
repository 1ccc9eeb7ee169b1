"""`irds:ID`: any ir_datasets dataset, streamed.

Triples have ids there, and are read several times, as texts are (`text_pairs`): documents with
equal texts are one passage. Numbers stay in memory, about 100 bytes a triple, and a block of texts.
"""

import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote

import ir_datasets
import numpy as np
from filelock import FileLock

from dpr.base.errors import InputError
from dpr.records.ids import hash64
from dpr.records.types import Judgment, Pair, Passage, Query, is_relevant
from dpr.sources.checked import clean
from dpr.sources.sampling import draw, draw_numbers, hold_out
from dpr.sources.text_pairs import Example, by_appearance, first_of, from_numbers, numbers
from dpr.sources.types import Collection, Stream, Training

# Looked up at a time. Queries have no store: all are read for each block.
DOCUMENTS, QUERIES = 10_000, 100_000

Texts = Callable[[Iterator[str]], Iterator[str]]  # of ids


def collection(identifier: str) -> Collection:
    """Documents, queries and judgments of a dataset."""
    dataset = load(identifier, "docs", "queries", "qrels")
    return Collection(
        passages=passages(dataset.docs_iter(), identifier),
        queries=[Query(str(q.query_id), q.default_text()) for q in dataset.queries_iter()],
        qrels={"test": Stream(lambda: judgments(dataset))},
        source={"ir_datasets": identifier},
        ids_of=ids_of(identifier),
    )


def training(identifier: str, limit: int | None, held_out: int, seed: int) -> Training:
    """The dataset's triples or, if it has none, its relevant documents.

    Args:
        limit: so many of them, drawn by seed; None takes all. Judgments of the queries that are
            drawn are there in any case: they find false negatives, and validate.
    Raises:
        InputError: for a dataset with neither, and for a triple of an unknown query or document.
    """
    dataset = load(identifier, "docs", "queries")
    if dataset.has_docpairs():
        load(identifier, "docpairs")
        return _of_triples(dataset, limit, held_out, seed, identifier)
    if not dataset.has_qrels():
        raise InputError(f"irds:{identifier}: neither training triples nor judgments")
    load(identifier, "qrels")
    relevant = draw((j for j in judgments(dataset) if is_relevant(j.grade)), limit, seed)
    valid = hold_out([j.query_id for j in relevant], held_out, seed)
    train = {j.query_id for j in relevant} - valid
    texts = _texts(dataset.queries_iter(), train | valid)

    def judged(query_ids: set[str]) -> Stream[Judgment]:
        return Stream(lambda: (j for j in judgments(dataset) if j.query_id in query_ids))

    return Training(
        passages=passages(dataset.docs_iter(), identifier),
        queries=[Query(query_id, text) for query_id, text in texts.items()],
        qrels={"train": judged(train), "valid": judged(valid)},
        pairs=[Pair(j.query_id, j.passage_id) for j in relevant if j.query_id in train],
        source={"ir_datasets": identifier, "held_out": held_out, "held_out_seed": seed},
        held_out=valid,
        ids_of=ids_of(identifier),
    )


def _of_triples(
    dataset: Any, limit: int | None, held_out: int, seed: int, identifier: str
) -> Training:
    store = dataset.docs_store()
    with _alone(identifier):
        if hasattr(store, "build"):
            store.build()

    def queries_of(block: list[str]) -> dict[str, Any]:
        wanted = set(block)
        found = ((str(query.query_id), query) for query in dataset.queries_iter())
        return {query_id: query for query_id, query in found if query_id in wanted}

    def query_texts(ids: Iterator[str]) -> Iterator[str]:
        return _looked_up(ids, queries_of, QUERIES, f"irds:{identifier}: a triple names the query")

    def document_texts(ids: Iterator[str]) -> Iterator[str]:
        what = f"irds:{identifier}: a triple names the document"
        return _looked_up(ids, store.get_many, DOCUMENTS, what)

    def read() -> Iterator[Example]:  # of ids in place of texts
        for row in dataset.docpairs_iter():
            yield Example(str(row.query_id), str(row.doc_id_a), str(row.doc_id_b))

    triples = Stream(read)
    if limit is not None:
        chosen = draw_numbers(sum(1 for _ in read()), limit, seed)
        triples = Stream(lambda: itertools.compress(read(), chosen))

    def query_ids() -> Iterator[str]:
        return (triple.query for triple in triples)

    def document_ids() -> Iterator[str]:
        return itertools.chain.from_iterable(triple.passages for triple in triples)

    queries, documents = numbers(triples, cleaned=str)
    queries = _by_text(queries, query_ids(), query_texts)
    documents = _by_text(documents, document_ids(), document_texts)
    return from_numbers(
        queries,
        documents,
        lambda: query_texts(first_of(queries, query_ids())),
        lambda: document_texts(first_of(documents.ravel(), document_ids())),
        held_out,
        seed,
        {"ir_datasets": identifier},
    )


def _by_text(by_id: np.ndarray, ids: Iterator[str], texts: Texts) -> np.ndarray:
    """Numbers of ids as numbers of their texts: equal if they are equal once cleaned."""
    found = texts(first_of(by_id.ravel(), ids))
    return by_appearance(array("Q", (hash64(clean(text)) for text in found)))[by_id]


def _looked_up(
    ids: Iterator[str], find: Callable[[list[str]], dict[str, Any]], size: int, what: str
) -> Iterator[str]:
    """The texts of queries or documents, in blocks of so many."""
    while block := list(itertools.islice(ids, size)):
        found = find(block)
        for identifier in block:
            if identifier not in found:
                raise InputError(f"{what} {identifier!r}, which the dataset does not have")
            yield found[identifier].default_text()


def load(identifier: str, *needs: str) -> Any:
    """A dataset that has all that is needed, of "docs", "queries", "qrels", "docpairs".

    What ir_datasets fetches or builds for the first reading is there afterwards.

    Raises:
        InputError: for an unknown id, or a dataset that lacks something.
    """
    try:
        dataset = ir_datasets.load(identifier)
    except KeyError:
        raise InputError(
            f"irds:{identifier}: ir_datasets has no such dataset; see its catalog"
        ) from None
    for need in needs:
        if not getattr(dataset, f"has_{need}")():
            raise InputError(f"irds:{identifier}: the dataset has no {need}; try another id")
    with _alone(identifier):
        for need in needs:
            next(iter(getattr(dataset, f"{need}_iter")()), None)
    return dataset


def _alone(identifier: str) -> FileLock:
    """Held while ir_datasets writes files: two processes at once would spoil them for good."""
    name = quote(ir_datasets.docs_parent_id(identifier), safe="")
    return FileLock(ir_datasets.util.home_path() / f"{name}.dpr.lock")


def ids_of(identifier: str) -> str:
    """The place of a dataset's ids: several datasets share documents, and some share queries."""
    documents, queries = ir_datasets.docs_parent_id, ir_datasets.queries_parent_id
    return f"irds:{documents(identifier)} {queries(identifier)}"


def passages(documents: Iterable[Any], identifier: str) -> Iterator[Passage]:
    """Documents as passages: title and text if a document is just these, else its default text.

    Raises:
        InputError: for a document without a text.
    """
    for document in documents:
        if not hasattr(document, "default_text"):
            raise InputError(
                f"irds:{identifier}: a {type(document).__name__} has no text to encode; "
                "write it as a BEIR folder"
            )
        title, text = getattr(document, "title", None), getattr(document, "text", None)
        whole = document.default_text()
        if title is None or text is None or f"{title} {text}".split() != whole.split():
            title, text = "", whole
        yield Passage(str(document.doc_id), title, text)


def judgments(dataset: Any) -> Iterator[Judgment]:
    for row in dataset.qrels_iter():
        yield Judgment(str(row.query_id), str(row.doc_id), int(row.relevance))


def _texts(queries: Iterable[Any], wanted: set[str]) -> dict[str, str]:
    found = ((str(query.query_id), query) for query in queries)
    return {query_id: query.default_text() for query_id, query in found if query_id in wanted}
