"""The queries and passages of the training pairs: tokenized into files, found by row number."""

import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from dpr.base.errors import InputError
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.prompts import tokenize_queries
from dpr.encoders.tokens import Tokenizer, Tokens
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.id_rows import IdRows, among, digests, first_of_equals
from dpr.records.id_set import hash64
from dpr.records.text import folded
from dpr.records.types import is_relevant
from dpr.training.ragged import Ragged

AT_ONCE = 1_000  # texts


Item = TypeVar("Item")


class Texts(NamedTuple):
    """Texts by row, in the order of their file.

    `first` has the first row with the same text, which is that with the same tokens.
    """

    rows: IdRows
    first: np.ndarray  # (N,) int32


class Queries(NamedTuple):
    rows: IdRows
    first: np.ndarray  # (N,) int32
    tokens: Ragged
    sources: np.ndarray  # (N,) int16, the number of the source in a mixture
    own: np.ndarray  # (K, 2): row, and digest of the id, of queries that are passages themselves


def queries(
    path: Path,
    folder: Path,
    wanted: np.ndarray,
    encoder: DualEncoder,
    prompts: Sequence[str] | None,
) -> Queries:
    """The queries with the wanted digests, tokenized into `path`."""
    ids, equal, sources, own = array("Q"), array("Q"), array("h"), []
    wanted = np.unique(wanted)
    tokenizer = Tokenizer(encoder.tokenizer.backend_tokenizer, encoder.spec)

    def rows() -> Iterator[Tokens]:
        for block in _blocks(beir.stream_queries(folder)):
            keys = digests(query.id for query in block)
            inside = among(keys, wanted)
            chosen = list(itertools.compress(block, inside))
            made = tokenize_queries(tokenizer, chosen, prompts)
            for query, key, tokens in zip(chosen, keys[inside].tolist(), made, strict=True):
                if query.is_passage:
                    own.append((len(ids), key))
                ids.append(key)
                equal.append(hash64(tokens.tobytes()))
                sources.append(query.source)
                yield tokens

    tokens = Ragged.write(path, np.int32, rows())
    return Queries(
        _rows(ids),
        first_of_equals(np.frombuffer(equal, np.uint64)),
        tokens,
        np.frombuffer(sources, np.int16),
        np.array(own, np.uint64).reshape(-1, 2),
    )


def passages(
    path: Path, corpus: Corpus, wanted: np.ndarray, encoder: DualEncoder, limit: int | None
) -> tuple[Texts, Ragged]:
    """The passages with the wanted digests (ascending), tokenized into `path`."""
    ids, equal = array("Q"), array("Q")

    def rows() -> Iterator[Tokens]:
        for block in _blocks(corpus.texts()):
            keys = digests(passage_id for passage_id, _ in block)
            inside = among(keys, wanted)
            chosen = [text for (_, text), yes in zip(block, inside, strict=True) if yes]
            ids.extend(keys[inside].tolist())
            for tokens in encoder.tokenize(chosen, "passage", limit):
                equal.append(hash64(tokens.tobytes()))
                yield tokens

    tokens = Ragged.write(path, np.int32, rows())
    return Texts(_rows(ids), first_of_equals(np.frombuffer(equal, np.uint64))), tokens


def encoded(corpus: Corpus, passage_ids: Sequence[str]) -> Texts:
    """All passages of a corpus, by the rows of their vectors.

    Raises:
        InputError: if the vectors are of other passages.
    """
    ids, equal = array("Q"), array("Q")
    differs = InputError(f"{corpus.file}: not the passages that have vectors; encode again")
    for passage_id, text in corpus.texts():
        if len(ids) == len(passage_ids) or passage_id != passage_ids[len(ids)]:
            raise differs
        ids.append(hash64(passage_id))
        equal.append(hash64(folded(text)))
    if len(ids) < len(passage_ids):
        raise differs
    return Texts(_rows(ids), first_of_equals(np.frombuffer(equal, np.uint64)))


def judged(folder: Path, queries: Queries, passages: Texts) -> np.ndarray:
    """(N, 2) int32 rows of what is relevant by judgment, and of queries that are passages."""
    own_rows, own_ids = queries.own.T
    found = [np.column_stack([own_rows.astype(np.int32), passages.rows.of(own_ids)])]
    judgments = (
        (q, p) for q, p, grade in beir.stream_judgments(folder, "train") if is_relevant(grade)
    )
    for block in _blocks(judgments):
        of_queries, of_passages = zip(*block, strict=True)
        rows = queries.rows.of(digests(of_queries)), passages.rows.of(digests(of_passages))
        found.append(np.column_stack(rows))
    every = np.concatenate(found)
    return every[(every >= 0).all(axis=1)]


def _rows(ids: array) -> IdRows:
    return IdRows(np.frombuffer(ids, np.uint64))


def _blocks(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while block := list(itertools.islice(iterator, AT_ONCE)):
        yield block
