"""Rows of different lengths in a file, such as the token ids of texts: memory stays flat.

The queries and passages of the training pairs: tokenized into files, found by row number.
"""

import itertools
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from dpr.base.errors import InputError
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.tokens import Tokenizer, Tokens, tokenize_queries
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.ids import IdRows, among, digests, first_of_equals, hash64
from dpr.records.types import folded, is_relevant


class Ragged:
    """Row i is `values[offsets[i]:offsets[i + 1]]`.

    The values are read from the file when they are asked for, and not through a memory map, whose
    pages count as memory in use.
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
        """Write rows one by one; only their lengths stay in memory."""
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
        """Write values by the row, of `count` rows, that each belongs to; their order stays."""
        values[np.argsort(rows, kind="stable")].astype(dtype).tofile(path)
        return cls._finish(path, dtype, np.bincount(rows, minlength=count))

    @classmethod
    def _finish(cls, path: Path, dtype: DTypeLike, lengths: np.ndarray) -> "Ragged":
        np.save(_offsets(path), np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))
        return cls(path, dtype)


def _offsets(path: Path) -> Path:
    return path.with_name(path.name + ".offsets.npy")


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
