"""Documents that are cut into passages `DOC#0`, `DOC#1`, ...: each ranks by its best passage.

MaxP of Dai and Callan 2019 (https://arxiv.org/abs/1905.09217), with the ids of pyserini's
`--max-passage`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from dpr.records.run import Run

if TYPE_CHECKING:
    import pyarrow  # in functions, since it loads slowly

SEPARATOR = "#"
DEEPER = 4  # times as many passages, for the topics that found too few documents
AT_ONCE = 4_000_000  # passages in a run, about 100 bytes each

# (positions of topics, depth) -> a run of these topics in this order, with `depth` passages each.
Search = Callable[[list[int], int], Run]


def id_of_passage(document_id: str, number: int) -> str:
    return f"{document_id}{SEPARATOR}{number}"


def document_of(passage_id: str) -> str:
    return passage_id.rpartition(SEPARATOR)[0]


def search_documents(
    search: Search, query_ids: list[str], top_k: int, passages: int, every: bool = False
) -> Run:
    """A run with the best passage of each of the `top_k` best documents, and perhaps of more.

    `as_documents` makes it a run of documents. Topics that need a greater depth than others are
    searched again, in blocks that bound the memory.

    Args:
        passages: the number of passages that can be found.
        every: keep every passage that was found, not the best of each document.
    """
    import pyarrow

    left, depth = np.arange(len(query_ids)), min(DEEPER * top_k, passages)
    topics, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    names = [pyarrow.array([], pyarrow.string())]
    while len(left):
        unfinished, size = [], max(1, AT_ONCE // depth)
        for block in np.split(left, range(size, len(left), size)):
            run = search(block.tolist(), depth)
            best = _best_passages(run)
            done = _complete(run, best, depth, top_k) | (depth == passages)
            kept = run if every else best
            kept = kept.keep(done[kept.topics])
            topics.append(block[kept.topics])
            names.append(kept.names(slice(None)))
            scores.append(kept.scores)
            unfinished.append(block[~done])
        left, depth = np.concatenate(unfinished), min(DEEPER * depth, passages)
    ids = pyarrow.chunked_array(names).dictionary_encode().combine_chunks()
    rows = (np.concatenate(topics), ids.dictionary, ids.indices.to_numpy(), np.concatenate(scores))
    return Run.of_rows(query_ids, *rows)


def _complete(run: Run, best: Run, depth: int, top_k: int) -> np.ndarray:
    """(T,) bool: whether no passage below `depth` can be among the best of `top_k` documents."""
    lengths, last = np.diff(run.bounds), np.full(len(run), -np.inf)
    last[lengths > 0] = run.scores[run.bounds[1:][lengths > 0] - 1]
    above = best.scores > last[best.topics]
    return (lengths < depth) | (np.bincount(best.topics[above], minlength=len(run)) >= top_k)


def _best_passages(run: Run) -> Run:
    """The rows of a run with the best passage of each document."""
    documents, document_of_id = _documents(run)
    keys = run.topics.astype(np.int64) * len(documents) + document_of_id[run.passages]
    rows = np.zeros(len(keys), bool)
    rows[np.unique(keys, return_index=True)[1]] = True  # the first is the best
    return run.keep(rows)


def as_documents(run: Run, top_k: int) -> Run:
    """The first `top_k` documents of a run of passages, each with its best score."""
    run = _best_passages(run)
    documents, document_of_id = _documents(run)
    rows = (run.topics, documents, document_of_id[run.passages], run.scores)
    return Run.of_rows(run.query_ids, *rows).first(top_k)


def _documents(run: Run) -> tuple["pyarrow.StringArray", np.ndarray]:
    """The different documents, and the position of each passage's document among them."""
    import pyarrow

    names = pyarrow.array(map(document_of, run.ids.to_pylist()), pyarrow.string())
    encoded = names.dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy()
