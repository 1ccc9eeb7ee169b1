"""`triples:FILE` and `pairs:FILE`: training data in text files, plain or gzipped, also by URL.

Queries and passages have no ids there: equal texts are one query or one passage.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.lines import read_lines
from dpr.records.types import Judgment, Pair, Passage, Query
from dpr.sources.clean import clean
from dpr.sources.download import find
from dpr.sources.sampling import draw, hold_out
from dpr.sources.types import Training


class Example(NamedTuple):
    query: str
    positive: str
    negative: str | None


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
    for where, row in beir.read_jsonl(path):
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
    return from_examples(draw(read(path), limit, seed), held_out, seed, source)


def from_examples(
    examples: list[Example], held_out: int, seed: int, source: dict[str, Any]
) -> Training:
    """Training data of texts without ids. `held_out` examples, drawn by seed, validate.

    Raises:
        InputError: if holding them out leaves nothing to train on.
    """
    query_ids = _ids("q", (example.query for example in examples))
    texts = (t for e in examples for t in (e.positive, e.negative) if t is not None)
    passage_ids = _ids("p", texts)
    valid = hold_out([query_ids[e.query] for e in examples], held_out, seed)
    pairs: list[Pair] = []
    judgments: dict[str, dict[tuple[str, str], Judgment]] = {"train": {}, "valid": {}}
    for example in examples:
        query_id, passage_id = query_ids[example.query], passage_ids[example.positive]
        split = "valid" if query_id in valid else "train"
        judgments[split][query_id, passage_id] = Judgment(query_id, passage_id, 1)
        if split == "train":
            negatives = () if example.negative is None else (passage_ids[example.negative],)
            pairs.append(Pair(query_id, passage_id, negatives))
    return Training(
        passages=(Passage(key, "", text) for key, text in _text_by_id(passage_ids).items()),
        queries=[Query(key, text) for key, text in _text_by_id(query_ids).items()],
        qrels={split: rows.values() for split, rows in judgments.items()},
        pairs=pairs,
        source=source | {"examples": len(examples), "held_out": held_out, "held_out_seed": seed},
        held_out=valid,
    )


def _ids(prefix: str, texts: Iterable[str]) -> dict[str, str]:
    """An id for each text, by first appearance; texts that are equal once cleaned share one."""
    ids: dict[str, str] = {}
    id_of_cleaned: dict[str, str] = {}
    for text in texts:
        if text not in ids:
            ids[text] = id_of_cleaned.setdefault(clean(text), f"{prefix}{len(id_of_cleaned)}")
    return ids


def _text_by_id(ids: dict[str, str]) -> dict[str, str]:
    """The first text of each id, in order."""
    texts: dict[str, str] = {}
    for text, identifier in ids.items():
        texts.setdefault(identifier, text)
    return texts
