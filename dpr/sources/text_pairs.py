"""`triples:FILE` and `pairs:FILE`: training data in text files, plain or gzipped, also by URL.

Queries and passages have no ids: identical texts (once cleaned) are one query or one passage. A
file is read several times. Memory holds numbers, about 100 bytes per pair, and no texts.
"""

import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dpr.base.errors import InputError
from dpr.records.ids import hash64
from dpr.records.lines import read_jsonl, read_lines
from dpr.records.types import Judgment, Pair, Passage, Query, Stream
from dpr.settings import DataSettings
from dpr.sources.checked import clean
from dpr.sources.download import find
from dpr.sources.sampling import draw, held_out_by, hold_out_numbers
from dpr.sources.types import Request, Training


class Example(NamedTuple):
    query: str
    positive: str
    negative: str | None = None

    @property
    def passages(self) -> list[str]:
        return [self.positive] if self.negative is None else [self.positive, self.negative]


def triples(request: Request) -> Training:
    return from_file(request, read_triples)


def pairs(request: Request) -> Training:
    return from_file(request, read_pairs)


def read_triples(path: Path) -> Iterator[Example]:
    """`query TAB positive TAB negative` lines."""
    return itertools.starmap(Example, _columns(path, ("query", "positive", "negative")))


def read_pairs(path: Path) -> Iterator[Example]:
    """`query TAB passage` lines or, in a .jsonl file, {"query", "passage"} objects."""
    if not {".json", ".jsonl"} & set(path.suffixes):
        yield from itertools.starmap(Example, _columns(path, ("query", "passage")))
        return
    for where, row in read_jsonl(path):
        texts: list[Any] = [row.get("query"), row.get("passage")]
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise InputError(f'{where}: "query" and "passage" must be texts that are not empty')
        yield Example(*texts)


def _columns(path: Path, names: tuple[str, ...]) -> Iterator[list[str]]:
    for where, line in read_lines(path):
        columns = line.split("\t")
        if len(columns) != len(names) or not all(column.strip() for column in columns):
            raise InputError(
                f"{where}: {len(columns)} columns or an empty one; a line must be "
                f"`{' TAB '.join(names)}`"
            )
        yield columns


def from_file(request: Request, read: Callable[[Path], Iterator[Example]]) -> Training:
    """Training data from a file's examples, or from the sample that `data.train_limit` draws.

    Args:
        request: its location is a path or a URL.
        read: reads the examples, all with a negative or all without.
    """
    path, description = find(request.location)
    data = request.data
    examples = draw(Stream(lambda: read(path)), data.train_limit, data.held_out_seed)
    queries, passages = number_texts(examples)
    return from_numbers(
        queries,
        Stream(lambda: first_texts(queries, (example.query for example in examples))),
        passages,
        Stream(lambda: first_texts(passages.ravel(), _passages(examples))),
        data,
        description,
    )


def _passages(examples: Iterable[Example]) -> Iterator[str]:
    return (text for example in examples for text in example.passages)


def from_numbers(
    queries: np.ndarray,
    query_texts: Iterable[str],
    passages: np.ndarray,
    passage_texts: Iterable[str],
    data: DataSettings,
    description: dict[str, Any],
) -> Training:
    """Training data from numbered texts; `data.held_out` examples, drawn by seed, validate.

    Args:
        queries, passages: as `number_texts` returns them.
        query_texts, passage_texts: the texts of the numbers 0, 1, ...; read several times.
    """
    chosen = hold_out_numbers(queries, data.held_out, data.held_out_seed)
    valid = np.isin(queries, chosen)
    pair_keys = queries.astype(np.int64) << 32 | passages[:, 0]
    new = np.zeros(len(queries), bool)  # the first of equal pairs
    new[np.unique(pair_keys, return_index=True)[1]] = True

    def judgments(rows: np.ndarray) -> Stream[Judgment]:
        def read() -> Iterator[Judgment]:
            for query, passage in zip(queries[rows], passages[rows, 0], strict=True):
                yield Judgment(f"q{query}", f"p{passage}", 1)

        return Stream(read)

    def pairs() -> Iterator[Pair]:
        for query, passage, *negatives in zip(queries[~valid], *passages[~valid].T, strict=True):
            yield Pair(f"q{query}", f"p{passage}", tuple(f"p{negative}" for negative in negatives))

    return Training(
        passages=Stream(lambda: (Passage(f"p{n}", "", t) for n, t in enumerate(passage_texts))),
        queries=Stream(lambda: (Query(f"q{n}", text) for n, text in enumerate(query_texts))),
        qrels={"train": judgments(new & ~valid), "valid": judgments(new & valid)},
        pairs=Stream(pairs),
        description=description | {"examples": len(queries)} | held_out_by(data),
        held_out={f"q{query}" for query in chosen},
    )


def number_texts(
    examples: Iterable[Example], cleaned: Callable[[str], str] = clean
) -> tuple[np.ndarray, np.ndarray]:
    """Number queries and passages by first appearance; identical cleaned texts share a number.

    A 64-bit hash stands for a text: 10 million texts collide with a chance of 1 in 400,000.

    Returns: int32 arrays, (examples,) and (examples, passages of an example).
    """
    queries, passages = array("Q"), array("Q")
    for example in examples:
        queries.append(hash64(cleaned(example.query)))
        passages.extend(hash64(cleaned(text)) for text in example.passages)
    width = len(passages) // len(queries) if queries else 1
    return number_hashes(queries), number_hashes(passages).reshape(len(queries), width)


def number_hashes(hashes: array) -> np.ndarray:
    """(N,) int32: number of each hash, from 0 in the order of first appearance."""
    numbers, _ = pd.factorize(np.frombuffer(hashes, np.uint64))
    return numbers.astype(np.int32)


def first_texts(numbers: np.ndarray, texts: Iterable[str]) -> Iterator[str]:
    """The text at the first appearance of each number, from 0."""
    new = 0
    for number, text in zip(numbers, texts, strict=True):
        if number == new:
            yield text
            new += 1
