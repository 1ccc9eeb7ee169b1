"""`triples:FILE` and `pairs:FILE`: training data in text files, plain or gzipped, also by URL.

Queries and passages have no ids there: equal texts are one query or one passage. A file is read
several times. No text stays in memory: numbers do, about 100 bytes a pair.
"""

import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dpr.base.errors import InputError
from dpr.records.ids import hash64
from dpr.records.lines import read_jsonl, read_lines
from dpr.records.types import Judgment, Pair, Passage, Query
from dpr.sources.checked import clean
from dpr.sources.download import find
from dpr.sources.sampling import draw_numbers, hold_out_numbers
from dpr.sources.types import Stream, Training


class Example(NamedTuple):
    query: str
    positive: str
    negative: str | None

    @property
    def passages(self) -> list[str]:
        return [self.positive] if self.negative is None else [self.positive, self.negative]


def read_triples(path: Path) -> Iterator[Example]:
    """`query TAB positive TAB negative` lines."""
    for query, positive, negative in _columns(path, ("query", "positive", "negative")):
        yield Example(query, positive, negative)


def read_pairs(path: Path) -> Iterator[Example]:
    """`query TAB passage` lines or, in a .jsonl file, {"query", "passage"} objects."""
    if not {".json", ".jsonl"} & set(path.suffixes):
        for query, passage in _columns(path, ("query", "passage")):
            yield Example(query, passage, None)
        return
    for where, row in read_jsonl(path):
        texts = (row.get("query"), row.get("passage"))
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise InputError(f'{where}: "query" and "passage" must be texts that are not empty')
        yield Example(row["query"], row["passage"], None)


def _columns(path: Path, names: tuple[str, ...]) -> Iterator[list[str]]:
    for number, line in read_lines(path):
        columns = line.split("\t")
        if len(columns) != len(names) or not all(column.strip() for column in columns):
            raise InputError(
                f"{path}:{number}: {len(columns)} columns or an empty one; a line must be "
                f"`{' TAB '.join(names)}`"
            )
        yield columns


def from_file(
    place: str,
    read: Callable[[Path], Iterator[Example]],
    downloads: Path,
    limit: int | None,
    held_out: int,
    seed: int,
) -> Training:
    """Training data from `limit` examples of a file, drawn by seed; see `from_examples`.

    Args:
        place: a path or a URL; what is fetched stays in the folder `downloads`.
        read: `read_triples` or `read_pairs`.
    """
    path, source = find(place, downloads)
    examples = Stream(lambda: read(path))
    if limit is None:
        return from_examples(examples, held_out, seed, source)
    chosen = draw_numbers(sum(1 for _ in examples), limit, seed)
    drawn = Stream(lambda: itertools.compress(examples, chosen))
    return from_examples(drawn, held_out, seed, source)


def from_examples(
    examples: Iterable[Example], held_out: int, seed: int, source: dict[str, Any]
) -> Training:
    """Training data of texts without ids; see `from_numbers`.

    Args:
        examples: a list or a `Stream`; all with a negative, or all without.
    """
    queries, passages = numbers(examples)

    def query_texts() -> Iterator[str]:
        return first_of(queries, (example.query for example in examples))

    def passage_texts() -> Iterator[str]:
        texts = itertools.chain.from_iterable(example.passages for example in examples)
        return first_of(passages.ravel(), texts)

    return from_numbers(queries, passages, query_texts, passage_texts, held_out, seed, source)


def from_numbers(
    queries: np.ndarray,
    passages: np.ndarray,
    query_texts: Callable[[], Iterator[str]],
    passage_texts: Callable[[], Iterator[str]],
    held_out: int,
    seed: int,
    source: dict[str, Any],
) -> Training:
    """Training data of examples in numbers. `held_out` of them, drawn by seed, validate.

    Args:
        queries, passages: as `numbers` gives them.
        query_texts, passage_texts: the texts of the numbers 0, 1, ...; called for each reading.
    Raises:
        InputError: if holding them out leaves nothing to train on.
    """
    chosen = hold_out_numbers(queries, held_out, seed)
    valid = np.isin(queries, chosen)
    new = _first(queries.astype(np.int64) << 32 | passages[:, 0])  # pairs that did not come before

    def judgments(rows: np.ndarray) -> Stream[Judgment]:
        return Stream(
            lambda: (
                Judgment(f"q{query}", f"p{passage}", 1)
                for query, passage in zip(queries[rows], passages[rows, 0], strict=True)
            )
        )

    def pairs() -> Iterator[Pair]:
        for query, passage, *negatives in zip(queries[~valid], *passages[~valid].T, strict=True):
            yield Pair(f"q{query}", f"p{passage}", tuple(f"p{negative}" for negative in negatives))

    def written_queries() -> Iterator[Query]:
        return (Query(f"q{number}", text) for number, text in enumerate(query_texts()))

    def written_passages() -> Iterator[Passage]:
        return (Passage(f"p{number}", "", text) for number, text in enumerate(passage_texts()))

    return Training(
        passages=Stream(written_passages),
        queries=Stream(written_queries),
        qrels={"train": judgments(new & ~valid), "valid": judgments(new & valid)},
        pairs=Stream(pairs),
        source=source | {"examples": len(queries), "held_out": held_out, "held_out_seed": seed},
        held_out={f"q{query}" for query in chosen},
    )


def numbers(
    examples: Iterable[Example], cleaned: Callable[[str], str] = clean
) -> tuple[np.ndarray, np.ndarray]:
    """Queries and passages as numbers, by first appearance; equal if they are equal once cleaned.

    Texts are compared by a 64-bit hash: of 10 million different ones, two collide with a chance of
    1 in 400,000.

    Returns: int32 arrays, (examples,) and (examples, passages of an example).
    """
    queries, passages = array("Q"), array("Q")
    for example in examples:
        queries.append(hash64(cleaned(example.query)))
        passages.extend(hash64(cleaned(text)) for text in example.passages)
    return by_appearance(queries), by_appearance(passages).reshape(
        len(queries), -1 if queries else 1
    )


def by_appearance(hashes: array) -> np.ndarray:
    """Numbers from 0, the same for equal hashes, in the order in which these come: int32, (N,)."""
    _, first, number = np.unique(
        np.frombuffer(hashes, np.uint64), return_index=True, return_inverse=True
    )
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[number]


def _first(values: np.ndarray) -> np.ndarray:
    """Where a value comes for the first time."""
    first = np.zeros(len(values), bool)
    first[np.unique(values, return_index=True)[1]] = True
    return first


def first_of(numbers: np.ndarray, texts: Iterable[str]) -> Iterator[str]:
    """The text where each number, from 0, comes for the first time."""
    new = 0
    for number, text in zip(numbers, texts, strict=True):
        if number == new:
            yield text
            new += 1
