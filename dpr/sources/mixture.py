"""Several sources of training data as one."""

import itertools
from collections.abc import Callable, Iterable

from dpr.base.errors import InputError
from dpr.records.types import Judgment, Pair, Passage, Query
from dpr.sources.types import Item, Stream, Training


def mix(names: list[str], sources: list[Training]) -> Training:
    """The pairs and the validation topics of all sources; each query has its source's number.

    The ids of the second source become `2-ID`, and so on, since two sources may use the same ones.
    The validation pool has passages of every source, so its scores do not compare with those of
    another mixture; compare over the searched collection.

    Raises:
        InputError: naming the first source without pairs.
    """
    for name, source in zip(names, sources, strict=True):
        if next(iter(source.pairs), None) is None:
            raise InputError(f"params.yaml: data.train: {name}: no training pairs; leave it out")
    numbered = [_numbered(source, number) for number, source in enumerate(sources, start=1)]
    if len(numbered) == 1:
        return numbered[0]
    return Training(
        passages=_chained([source.passages for source in numbered]),
        queries=_chained([source.queries for source in numbered]),
        qrels={
            split: _chained([source.qrels[split] for source in numbered])
            for split in ("train", "valid")
        },
        pairs=_chained([source.pairs for source in numbered]),
        source={"mixture": [source.source for source in sources]},
    )


def _numbered(source: Training, number: int) -> Training:
    prefix = "" if number == 1 else f"{number}-"

    def passage(row: Passage) -> Passage:
        return row._replace(id=prefix + row.id)

    def query(row: Query) -> Query:
        return row._replace(id=prefix + row.id, source=number)

    def judgment(row: Judgment) -> Judgment:
        return Judgment(prefix + row.query_id, prefix + row.passage_id, row.grade)

    def pair(row: Pair) -> Pair:
        negatives = tuple(prefix + negative for negative in row.negative_ids)
        return Pair(prefix + row.query_id, prefix + row.passage_id, negatives)

    return Training(
        passages=_mapped(passage, source.passages),
        queries=_mapped(query, source.queries),
        qrels={split: _mapped(judgment, rows) for split, rows in source.qrels.items()},
        pairs=_mapped(pair, source.pairs),
        source=source.source,
    )


def _mapped(change: Callable[[Item], Item], rows: Iterable[Item]) -> Stream[Item]:
    return Stream(lambda: map(change, rows))


def _chained(parts: list[Iterable[Item]]) -> Stream[Item]:
    return Stream(lambda: itertools.chain.from_iterable(parts))
