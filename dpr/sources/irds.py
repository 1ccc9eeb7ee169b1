"""`irds:ID`: any ir_datasets dataset, streamed.

Triples are read as in `text_pairs`, several times: documents with identical texts are one passage.
Memory holds numbers, about 100 bytes per triple, and one block of texts.
"""

import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

import ir_datasets
import numpy as np
from filelock import FileLock

from dpr.base.errors import InputError
from dpr.records.ids import hash64
from dpr.records.types import Judgment, Pair, Passage, Query, Stream, is_relevant
from dpr.sources.checked import clean
from dpr.sources.examples import Example
from dpr.sources.sampling import draw, held_out_by, hold_out
from dpr.sources.text_pairs import (
    Numbered,
    first_texts,
    from_numbers,
    number_hashes,
    number_texts,
)
from dpr.sources.types import Collection, Request, Training

# Texts looked up at a time. Queries have no store: each block reads all of them.
DOCUMENTS, QUERIES = 10_000, 100_000


def collection(request: Request) -> Collection:
    dataset = load(request.location, "docs", "queries", "qrels")
    return Collection(
        passages=passages(dataset.docs_iter(), request.location),
        queries=[Query(str(q.query_id), q.default_text()) for q in dataset.queries_iter()],
        qrels={"test": judgments(dataset)},
        description={"ir_datasets": request.location},
        id_space=id_space(request.location),
    )


def training(request: Request) -> Training:
    """The dataset's triples or, if it has none, its relevant documents.

    `data.train_limit` draws examples. All judgments of the drawn queries stay: they find false
    negatives and validate.

    Raises:
        InputError: for a dataset with neither, and for a triple of an unknown query or document.
    """
    identifier, data = request.location, request.data
    dataset = load(identifier, "docs", "queries")
    if dataset.has_docpairs():
        return _of_triples(dataset, request)
    if not dataset.has_qrels():
        raise InputError(f"irds:{identifier}: no training triples and no judgments")
    load(identifier, "qrels")
    seed = data.held_out_seed
    relevant = Stream(lambda: (j for j in judgments(dataset) if is_relevant(j.grade)))
    drawn = list(draw(relevant, data.train_limit, seed))
    valid = hold_out((j.query_id for j in drawn), data.held_out, seed)
    train = {j.query_id for j in drawn} - valid

    def judged(query_ids: set[str]) -> Stream[Judgment]:
        return Stream(lambda: (j for j in judgments(dataset) if j.query_id in query_ids))

    return Training(
        passages=passages(dataset.docs_iter(), identifier),
        queries=[Query(q, row.default_text()) for q, row in _queries(dataset, train | valid)],
        qrels={"train": judged(train), "valid": judged(valid)},
        pairs=[Pair(j.query_id, j.passage_id) for j in drawn if j.query_id in train],
        description={"ir_datasets": identifier} | held_out_by(data),
        held_out=valid,
        id_space=id_space(identifier),
    )


def _of_triples(dataset: Any, request: Request) -> Training:
    load(request.location, "docpairs")
    store = dataset.docs_store()
    with _alone(request.location):
        if hasattr(store, "build"):
            store.build()

    def read() -> Iterator[Example]:  # ids in place of texts
        for row in dataset.docpairs_iter():
            yield Example(str(row.query_id), str(row.doc_id_a), (str(row.doc_id_b),))

    triples = draw(Stream(read), request.data.train_limit, request.data.held_out_seed)
    query_ids = Stream(lambda: (triple.query for triple in triples))
    document_ids = Stream(lambda: (key for triple in triples for key in triple.passages))
    by_id = number_texts(triples, cleaned=str)

    def find_queries(ids: list[str]) -> dict[str, Any]:
        return dict(_queries(dataset, set(ids)))

    where = f"irds:{request.location}: a triple names the"
    query_texts = partial(_look_up, find_queries, QUERIES, f"{where} query")
    document_texts = partial(_look_up, store.get_many, DOCUMENTS, f"{where} document")
    queries, of_queries = _by_text(by_id.queries, query_ids, query_texts)
    documents, of_documents = _by_text(by_id.passages, document_ids, document_texts)
    return from_numbers(
        Numbered(queries, documents, by_id.starts),
        of_queries,
        of_documents,
        request.data,
        {"ir_datasets": request.location},
    )


def _by_text(
    by_id: np.ndarray, ids: Iterable[str], look_up: Callable[[Iterable[str]], Iterator[str]]
) -> tuple[np.ndarray, Stream[str]]:
    """Numbers of ids -> numbers of their cleaned texts, and the text of each number."""
    texts = look_up(first_texts(by_id, ids))
    by_text = number_hashes(array("Q", (hash64(clean(text)) for text in texts)))[by_id]
    return by_text, Stream(lambda: look_up(first_texts(by_text, ids)))


def _look_up(
    find: Callable[[list[str]], dict[str, Any]], block_size: int, where: str, ids: Iterable[str]
) -> Iterator[str]:
    """The texts of queries or documents, a block at a time."""
    ids = iter(ids)
    while block := list(itertools.islice(ids, block_size)):
        rows = find(block)
        for identifier in block:
            if identifier not in rows:
                raise InputError(f"{where} {identifier!r}, which the dataset does not have")
            yield rows[identifier].default_text()


def load(identifier: str, *needs: str) -> Any:
    """A dataset that has each of `needs` ("docs", "queries", "qrels", "docpairs"), or InputError.

    Reads the first row of each, so that ir_datasets fetches or builds its files now.
    """
    try:
        dataset = ir_datasets.load(identifier)
    except KeyError:
        raise InputError(
            f"irds:{identifier}: ir_datasets has no such dataset; see its catalog"
        ) from None
    for need in needs:
        if not getattr(dataset, f"has_{need}")():
            raise InputError(f"irds:{identifier}: the dataset has no {need}; use a different id")
    with _alone(identifier):
        for need in needs:
            next(iter(getattr(dataset, f"{need}_iter")()), None)
    return dataset


def _alone(identifier: str) -> FileLock:
    """To hold while ir_datasets writes files: two processes at once would corrupt them."""
    name = quote(ir_datasets.docs_parent_id(identifier), safe="")
    return FileLock(ir_datasets.util.home_path() / f"{name}.dpr.lock")


def id_space(identifier: str) -> str:
    """Both name the id space, since datasets may share documents, queries or both."""
    documents, queries = ir_datasets.docs_parent_id, ir_datasets.queries_parent_id
    return f"irds:{documents(identifier)} {queries(identifier)}"


def passages(documents: Iterable[Any], identifier: str) -> Iterator[Passage]:
    """The title and text of a document if it has nothing else; otherwise its default text."""
    for document in documents:
        if not hasattr(document, "default_text"):
            raise InputError(
                f"irds:{identifier}: a {type(document).__name__} has no text to encode; "
                "write the dataset as a BEIR folder"
            )
        title, text = getattr(document, "title", None), getattr(document, "text", None)
        whole = document.default_text()
        if title is None or text is None or f"{title} {text}".split() != whole.split():
            title, text = "", whole
        yield Passage(str(document.doc_id), title, text)


def judgments(dataset: Any) -> Stream[Judgment]:
    return Stream(
        lambda: (
            Judgment(str(row.query_id), str(row.doc_id), int(row.relevance))
            for row in dataset.qrels_iter()
        )
    )


def _queries(dataset: Any, wanted: set[str]) -> Iterator[tuple[str, Any]]:
    rows = ((str(query.query_id), query) for query in dataset.queries_iter())
    return ((query_id, query) for query_id, query in rows if query_id in wanted)
