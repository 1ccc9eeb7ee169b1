"""`triples:FILE` and `pairs:FILE`: training data in tables of texts, also by URL.

Queries and passages have no ids: identical texts (once cleaned) are one query or one passage. A
file is read several times. Memory holds numbers, about 100 bytes per pair, and no texts.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dpr.base.errors import InputError
from dpr.base.files import fingerprint
from dpr.records.ids import hash64
from dpr.records.lines import existing
from dpr.records.types import Judgment, Pair, Passage, Query, Stream
from dpr.settings import DataSettings
from dpr.sources.checked import clean
from dpr.sources.columns import training_pairs
from dpr.sources.download import find
from dpr.sources.examples import Example, read_examples
from dpr.sources.folders import chosen, find_tables, parted, refuse_missing
from dpr.sources.reading import Findings
from dpr.sources.sampling import draw, held_out_by, hold_out_numbers
from dpr.sources.types import Request, Training

# The columns of a file without header. With one, both read all that `training_pairs` describes.
TRIPLES = training_pairs("query", "positive", "negative")
PAIRS = training_pairs("query", "positive")
Read = Callable[[list[Path], str, Findings], Iterator[Example]]  # (files, separator, findings)


def triples(request: Request) -> Training:
    return from_file(request, read_triples, "triples")


def pairs(request: Request) -> Training:
    return from_file(request, read_pairs, "pairs")


def read_triples(files: list[Path], separator: str, findings: Findings) -> Iterator[Example]:
    return read_examples(files, TRIPLES, separator, findings)


def read_pairs(files: list[Path], separator: str, findings: Findings) -> Iterator[Example]:
    return read_examples(files, PAIRS, separator, findings)


def from_file(request: Request, read: Read, source: str) -> Training:
    """Training data from the examples of a file, of a folder of shards, or of a URL.

    Args:
        source: its name in `data.train`, without the location.
    """
    files, description = _files(request.location)
    return from_examples(request, files, read, description, f"{source}:{request.location}")


def _files(location: str) -> tuple[list[Path], dict[str, Any]]:
    place, table = parted(location)
    folder = Path(place)
    if folder.is_dir():
        files = chosen(find_tables(folder), table or None, place, usual="train")
        return files, {"folder": folder.name, "files": len(files), "sha256": fingerprint(files)}
    path, description = find(location)
    refuse_missing(existing(path), "file")
    return [path], description


def from_examples(
    request: Request, files: list[Path], read: Read, description: dict[str, Any], name: str
) -> Training:
    """Training data from examples, or from the sample that `data.train_limit` draws."""
    data, findings = request.data, Findings()
    examples = draw(
        Stream(lambda: read(files, data.separator, findings)), data.train_limit, data.held_out_seed
    )
    numbered = number_texts(examples)
    if not len(numbered.queries):
        raise InputError(f"{name}: no pairs; a row needs a query and a passage that answers it")
    findings.report(name)
    return from_numbers(
        numbered,
        Stream(lambda: first_texts(numbered.queries, (example.query for example in examples))),
        Stream(lambda: first_texts(numbered.passages, _passages(examples))),
        data,
        description | findings.description,
    )


def _passages(examples: Iterable[Example]) -> Iterator[str]:
    return (text for example in examples for text in example.passages)


class Numbered(NamedTuple):
    """Texts of examples as numbers, from 0 by first appearance.

    Attributes:
        queries: (examples,) int32.
        passages: int32; the positive and then the negatives of each example.
        starts: (examples + 1,) int64; where each example begins in `passages`.
    """

    queries: np.ndarray
    passages: np.ndarray
    starts: np.ndarray


def from_numbers(
    numbered: Numbered,
    query_texts: Iterable[str],
    passage_texts: Iterable[str],
    data: DataSettings,
    description: dict[str, Any],
) -> Training:
    """Training data from numbered texts; `data.held_out` examples, drawn by seed, validate.

    Args:
        query_texts, passage_texts: the texts of the numbers 0, 1, ...; read several times.
    """
    queries, passages, starts = numbered
    positives = passages[starts[:-1]]
    chosen = hold_out_numbers(queries, data.held_out, data.held_out_seed)
    valid = np.isin(queries, chosen)
    pair_keys = queries.astype(np.int64) << 32 | positives
    new = np.zeros(len(queries), bool)  # the first of equal pairs
    new[np.unique(pair_keys, return_index=True)[1]] = True

    def judgments(rows: np.ndarray) -> Stream[Judgment]:
        def read() -> Iterator[Judgment]:
            for query, passage in zip(queries[rows], positives[rows], strict=True):
                yield Judgment(f"q{query}", f"p{passage}", 1)

        return Stream(read)

    def pairs() -> Iterator[Pair]:
        for row in np.flatnonzero(~valid):
            passage, *negatives = passages[starts[row] : starts[row + 1]]
            yield Pair(f"q{queries[row]}", f"p{passage}", tuple(f"p{n}" for n in negatives))

    return Training(
        passages=Stream(lambda: (Passage(f"p{n}", "", t) for n, t in enumerate(passage_texts))),
        queries=Stream(lambda: (Query(f"q{n}", text) for n, text in enumerate(query_texts))),
        qrels={"train": judgments(new & ~valid), "valid": judgments(new & valid)},
        pairs=Stream(pairs),
        description=description | {"examples": len(queries)} | held_out_by(data),
        held_out={f"q{query}" for query in chosen},
    )


def number_texts(examples: Iterable[Example], cleaned: Callable[[str], str] = clean) -> Numbered:
    """Number queries and passages by first appearance; identical cleaned texts share a number.

    A 64-bit hash stands for a text: 10 million texts collide with a chance of 1 in 400,000.
    """
    queries, passages, starts = array("Q"), array("Q"), array("q", [0])
    for example in examples:
        queries.append(hash64(cleaned(example.query)))
        passages.extend(hash64(cleaned(text)) for text in example.passages)
        starts.append(len(passages))
    return Numbered(
        number_hashes(queries), number_hashes(passages), np.frombuffer(starts, np.int64)
    )


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
