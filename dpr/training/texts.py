"""The texts of the training pairs: tokenized once into files, and read by row number.

Memory holds a few dozen bytes per text, however long it is.
"""

import itertools
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from dpr.base.errors import InputError
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.tokens import Tokens, tokenize_queries
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.ids import IdRows, among, digests, first_of_equals, hash64
from dpr.records.types import folded, is_relevant

BLOCK = 1_000  # texts, or judgments, in memory
Item = TypeVar("Item")


class Ragged:
    """Rows of different lengths in a file: row i is `values[offsets[i]:offsets[i + 1]]`.

    Each access reads the file: the pages of a memory map would count as memory in use.
    """

    def __init__(self, path: Path, dtype: DTypeLike):
        self.dtype = np.dtype(dtype)
        self.offsets = np.load(_offsets(path), mmap_mode="r", allow_pickle=False)
        self._file = path.open("rb")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        start, stop = (int(at) * self.dtype.itemsize for at in self.offsets[row : row + 2])
        return np.frombuffer(os.pread(self._file.fileno(), stop - start, start), self.dtype)

    @classmethod
    def write(cls, path: Path, dtype: DTypeLike, rows: Iterable[np.ndarray]) -> "Ragged":
        """Write rows one by one. Only their lengths stay in memory."""
        lengths = array("q")
        with path.open("wb") as file:
            for row in rows:
                file.write(np.ascontiguousarray(row, dtype).data)
                lengths.append(len(row))
        return cls._finish(path, dtype, np.frombuffer(lengths, np.int64))

    @classmethod
    def group(
        cls, path: Path, dtype: DTypeLike, count: int, rows: np.ndarray, values: np.ndarray
    ) -> "Ragged":
        """Write values grouped by row. `rows` has each value's row. Values keep their order."""
        values[np.argsort(rows, kind="stable")].astype(dtype).tofile(path)
        return cls._finish(path, dtype, np.bincount(rows, minlength=count))

    @classmethod
    def _finish(cls, path: Path, dtype: DTypeLike, lengths: np.ndarray) -> "Ragged":
        np.save(_offsets(path), np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))
        return cls(path, dtype)


def _offsets(path: Path) -> Path:
    return path.with_name(path.name + ".offsets.npy")


class Texts(NamedTuple):
    """N texts by row, in the order of their file."""

    rows: IdRows
    canonical: np.ndarray  # (N,) int32: the first row with the same text


class Passages(NamedTuple):
    """N passages by row, in the order of their file."""

    rows: IdRows
    documents: IdRows  # the rows of each document; the same as `rows` if documents are not cut
    canonical: np.ndarray  # (N,) int32, see `Texts`


class Queries(NamedTuple):
    rows: IdRows
    canonical: np.ndarray  # (N,) int32, see `Texts`
    tokens: Ragged
    sources: np.ndarray  # (N,) int16: number of the source in a mixture
    also_passages: np.ndarray  # (K,) uint64: digests of the ids of queries that are passages too


def read_queries(
    path: Path,
    folder: Path,
    wanted: np.ndarray,
    encoder: DualEncoder,
    prompts: Sequence[str] | None,
) -> Queries:
    """The queries with the wanted digests, tokenized into `path`."""
    sources, also_passages = array("h"), array("Q")
    tokenizer = encoder.tokenizer

    def tokenized() -> Iterator[tuple[np.ndarray, list[Tokens]]]:
        stored = beir.stream_queries(folder)
        for keys, queries in _chosen(stored, attrgetter("id"), np.unique(wanted)):
            for query, key in zip(queries, keys.tolist(), strict=True):
                sources.append(query.mixture_source)
                if query.is_passage:
                    also_passages.append(key)
            yield keys, tokenize_queries(tokenizer, queries, prompts)

    texts, tokens = _write(path, tokenized())
    return Queries(*texts, tokens, np.asarray(sources), np.asarray(also_passages))


def read_passages(
    path: Path, corpus: Corpus, wanted: np.ndarray, encoder: DualEncoder, limit: int | None
) -> tuple[Passages, Ragged]:
    """The passages with the wanted digests (ascending), tokenized into `path`."""
    documents = array("Q")

    def tokenized() -> Iterator[tuple[np.ndarray, list[Tokens]]]:
        for keys, passages in _chosen(corpus.texts(), itemgetter(0), wanted):
            documents.extend(hash64(corpus.document(passage_id)) for passage_id, _ in passages)
            yield keys, encoder.tokenize([text for _, text in passages], "passage", limit)

    texts, tokens = _write(path, tokenized())
    return Passages(texts.rows, _documents(texts, documents, corpus), texts.canonical), tokens


def passages_with_vectors(corpus: Corpus, passage_ids: Sequence[str]) -> Passages:
    """All passages of a corpus, by the rows of their vectors.

    Raises:
        InputError: if the vectors belong to different passages.
    """
    ids, documents, equal = array("Q"), array("Q"), array("Q")
    for passage, expected in itertools.zip_longest(corpus.texts(), passage_ids):
        if passage is None or passage[0] != expected:
            raise InputError(f"{corpus.file}: not the passages that have vectors; encode again")
        ids.append(hash64(passage[0]))
        documents.append(hash64(corpus.document(passage[0])))
        equal.append(hash64(folded(passage[1])))
    texts = _texts(ids, equal)
    return Passages(texts.rows, _documents(texts, documents, corpus), texts.canonical)


def _documents(passages: Texts, documents: array, corpus: Corpus) -> IdRows:
    return IdRows(np.asarray(documents)) if corpus.cut else passages.rows


def judged_relevant(folder: Path, queries: Queries, passages: Passages) -> np.ndarray:
    """(N, 2) int32 rows: each query with all passages of its relevant documents.

    A query that is a passage too is relevant to itself.
    """
    ids = queries.also_passages
    pairs = [_rows(ids, ids, queries, passages)]
    judgments = (
        (q, p) for q, p, grade in beir.stream_judgments(folder, "train") if is_relevant(grade)
    )
    for block in _blocks(judgments):
        query_ids, passage_ids = zip(*block, strict=True)
        pairs.append(_rows(digests(query_ids), digests(passage_ids), queries, passages))
    return np.concatenate(pairs)


def _rows(
    query_ids: np.ndarray, passage_ids: np.ndarray, queries: Queries, passages: Passages
) -> np.ndarray:
    """(N, 2) int32 rows of the pairs that have both, from their digests."""
    which, columns = passages.documents.all_of(passage_ids)
    every = np.column_stack([queries.rows.of(query_ids[which]), columns])
    return every[every[:, 0] >= 0]


def _chosen(
    items: Iterable[Item], id_of: Callable[[Item], str], wanted: np.ndarray
) -> Iterator[tuple[np.ndarray, list[Item]]]:
    """Blocks of digests and items, for the wanted digests (ascending)."""
    for block in _blocks(items):
        keys = digests(map(id_of, block))
        inside = among(keys, wanted)
        yield keys[inside], list(itertools.compress(block, inside))


def _write(path: Path, blocks: Iterable[tuple[np.ndarray, list[Tokens]]]) -> tuple[Texts, Ragged]:
    """Write blocks of texts: the digests of their ids, and their tokens."""
    ids, equal = array("Q"), array("Q")

    def rows() -> Iterator[Tokens]:
        for keys, texts in blocks:
            ids.extend(keys.tolist())
            for tokens in texts:
                equal.append(hash64(tokens.tobytes()))
                yield tokens

    tokens = Ragged.write(path, np.int32, rows())
    return _texts(ids, equal), tokens


def _texts(ids: array, equal: array) -> Texts:
    return Texts(IdRows(np.asarray(ids)), first_of_equals(np.asarray(equal)))


def _blocks(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while block := list(itertools.islice(iterator, BLOCK)):
        yield block
