"""`irds:ID`: any ir_datasets dataset, streamed."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import ir_datasets

from dpr.base.errors import InputError
from dpr.records.types import Judgment, Pair, Passage, Query
from dpr.sources.sampling import draw, hold_out
from dpr.sources.text_pairs import Example, from_examples
from dpr.sources.types import Collection, Stream, Training


def collection(identifier: str) -> Collection:
    """Documents, queries and judgments of a dataset."""
    dataset = load(identifier, "docs", "queries", "qrels")
    return Collection(
        passages=passages(dataset.docs_iter(), identifier),
        queries=[Query(str(q.query_id), q.default_text()) for q in dataset.queries_iter()],
        qrels={"test": Stream(lambda: judgments(dataset))},
        source={"ir_datasets": identifier},
    )


def training(identifier: str, limit: int | None, held_out: int, seed: int) -> Training:
    """The dataset's triples or, if it has none, its relevant documents.

    Args:
        limit: so many of them, drawn by seed; None takes all.
    Raises:
        InputError: for a dataset with neither, and for a triple of an unknown query or document.
    """
    dataset = load(identifier, "docs", "queries")
    if dataset.has_docpairs():
        triples = draw(dataset.docpairs_iter(), limit, seed)
        examples = _examples(dataset, triples, identifier)
        return from_examples(examples, held_out, seed, {"ir_datasets": identifier})
    if not dataset.has_qrels():
        raise InputError(f"irds:{identifier}: neither training triples nor judgments")
    relevant = draw((j for j in judgments(dataset) if j.grade > 0), limit, seed)
    valid = hold_out([j.query_id for j in relevant], held_out, seed)
    parts = {
        "train": [j for j in relevant if j.query_id not in valid],
        "valid": [j for j in relevant if j.query_id in valid],
    }
    texts = _texts(dataset.queries_iter(), {j.query_id for j in relevant})
    return Training(
        passages=passages(dataset.docs_iter(), identifier),
        queries=[Query(query_id, text) for query_id, text in texts.items()],
        qrels=parts,
        pairs=[Pair(j.query_id, j.passage_id) for j in parts["train"]],
        source={"ir_datasets": identifier, "held_out": held_out, "held_out_seed": seed},
        held_out=valid,
    )


def _examples(dataset: Any, drawn: list[Any], identifier: str) -> list[Example]:
    triples = [(str(t.query_id), str(t.doc_id_a), str(t.doc_id_b)) for t in drawn]
    wanted = {query_id for query_id, _, _ in triples}
    queries = _texts(dataset.queries_iter(), wanted)
    documents = _lookup(dataset, {d for _, *pair in triples for d in pair}, identifier)
    if unknown := sorted(wanted - queries.keys()):
        raise InputError(f"irds:{identifier}: a triple names the unknown query {unknown[0]!r}")
    return [Example(queries[q], documents[a], documents[b]) for q, a, b in triples]


def load(identifier: str, *needs: str) -> Any:
    """A dataset that has all that is needed, of "docs", "queries", "qrels".

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
    return dataset


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


def _lookup(dataset: Any, wanted: set[str], identifier: str) -> dict[str, str]:
    """Texts by document id, from the dataset's store, in blocks."""
    store = dataset.docs_store()
    found: dict[str, str] = {}
    ids = sorted(wanted)
    for start in range(0, len(ids), 10_000):
        documents = store.get_many(ids[start : start + 10_000])
        found |= {str(key): document.default_text() for key, document in documents.items()}
    missing = next(itertools.filterfalse(found.__contains__, ids), None)
    if missing is not None:
        raise InputError(f"irds:{identifier}: a triple names the unknown document {missing!r}")
    return found
