"""Training data in text files: `triples:FILE` and `pairs:FILE`, plain or gzipped.

Queries and passages have no ids there: equal texts are one query or one passage.
"""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dpr.collections import beir
from dpr.collections.lines import existing, read_lines
from dpr.collections.records import Judgment, Pair, Passage, Query, Training
from dpr.collections.text import clean
from dpr.errors import InputError
from dpr.files import sha256


class Example(NamedTuple):
    query: str
    positive: str
    negative: str | None


def read_triples(path: Path) -> Iterator[Example]:
    """`query TAB positive TAB negative` lines."""
    for number, line in read_lines(path):
        columns = line.split("\t")
        if len(columns) != 3 or not all(column.strip() for column in columns):
            raise InputError(
                f"{path}:{number}: {len(columns)} columns or an empty one; a line must be "
                "`query TAB positive TAB negative`"
            )
        yield Example(*columns)


def read_pairs(path: Path) -> Iterator[Example]:
    """`query TAB passage` lines or, where the name has .jsonl, {"query", "passage"} objects."""
    if {".json", ".jsonl"} & set(path.suffixes):
        for where, row in beir.read_jsonl(path):
            texts = (row.get("query"), row.get("passage"))
            if not all(isinstance(text, str) and text.strip() for text in texts):
                raise InputError(f'{where}: "query" and "passage" must be texts that are not empty')
            yield Example(*texts, None)
        return
    for number, line in read_lines(path):
        columns = line.split("\t")
        if len(columns) != 2 or not all(column.strip() for column in columns):
            raise InputError(
                f"{path}:{number}: {len(columns)} columns or an empty one; a line must be "
                "`query TAB passage`"
            )
        yield Example(*columns, None)


def from_file(
    path: Path, examples: Iterator[Example], limit: int | None, held_out: int, seed: int
) -> Training:
    """Training data from the examples of a file; see `from_examples`."""
    taken = list(take(examples, limit))
    source = {"file": path.name, "sha256": sha256(existing(path))}
    return from_examples(taken, held_out, seed, source)


def take(examples: Iterable, limit: int | None) -> Iterator:
    """The first `limit` examples, all for None."""
    for count, example in enumerate(examples):
        if count == limit:
            return
        yield example


def from_examples(
    examples: list[Example], held_out: int, seed: int, source: dict[str, Any]
) -> Training:
    """Training data of which the queries of `held_out` examples, drawn by seed, validate.

    Raises:
        InputError: where holding them out leaves nothing to train on.
    """
    query_ids = _ids("q", (example.query for example in examples))
    texts = (t for e in examples for t in (e.positive, e.negative) if t is not None)
    passage_ids = _ids("p", texts)
    valid = hold_out([query_ids[e.query] for e in examples], held_out, seed)
    pairs, judgments = [], {"train": {}, "valid": {}}
    for example in examples:
        query_id, passage_id = query_ids[example.query], passage_ids[example.positive]
        split = "valid" if query_id in valid else "train"
        judgments[split][query_id, passage_id] = Judgment(query_id, passage_id, 1)
        if split == "train":
            negatives = () if example.negative is None else (passage_ids[example.negative],)
            pairs.append(Pair(query_id, passage_id, negatives))
    return Training(
        passages=(Passage(key, "", text) for key, text in _by_id(passage_ids).items()),
        queries=(Query(key, text) for key, text in _by_id(query_ids).items()),
        qrels={split: rows.values() for split, rows in judgments.items()},
        pairs=pairs,
        source=source | {"examples": len(examples), "held_out": held_out, "held_out_seed": seed},
    )


def hold_out(query_ids: list[str], count: int, seed: int) -> set[str]:
    """Queries, drawn by seed, until they have `count` of the examples between them.

    Raises:
        InputError: where nothing would be left to train on.
    """
    examples: dict[str, int] = {}
    for query_id in query_ids:
        examples[query_id] = examples.get(query_id, 0) + 1
    order = sorted(examples)
    random.Random(seed).shuffle(order)
    chosen, held = set(), 0
    for query_id in order:
        if held >= count:
            break
        chosen.add(query_id)
        held += examples[query_id]
    if len(chosen) == len(order):
        raise InputError(
            f"params.yaml: data.held_out: {count} of {len(query_ids)} training examples held out "
            "for validation leave nothing to train on; lower it"
        )
    return chosen


def _ids(prefix: str, texts: Iterable[str]) -> dict[str, str]:
    """An id for each text, by first appearance; texts that cleaning makes equal share one."""
    ids: dict[str, str] = {}
    of_cleaned: dict[str, str] = {}
    for text in texts:
        if text not in ids:
            ids[text] = of_cleaned.setdefault(clean(text), f"{prefix}{len(of_cleaned)}")
    return ids


def _by_id(ids: dict[str, str]) -> dict[str, str]:
    """The first text of each id, in order."""
    texts: dict[str, str] = {}
    for text, identifier in ids.items():
        texts.setdefault(identifier, text)
    return texts
