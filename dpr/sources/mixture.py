"""Several sources of training data as one."""

import itertools
from collections.abc import Iterable, Iterator

from dpr.records.types import Judgment, Pair
from dpr.sources.types import Training


def mix(sources: list[Training]) -> Training:
    """The pairs of all sources; only the topics of the first validate.

    The ids of the second source become `2-ID`, and so on, since two sources may use the same ones.
    The validation pool has passages of every source, so its scores do not compare with those of
    another mixture; compare over the searched collection.
    """
    first, *others = sources
    if not others:
        return first
    renamed = [first, *(_renamed(source, f"{n}-") for n, source in enumerate(others, start=2))]
    return Training(
        passages=itertools.chain.from_iterable(source.passages for source in renamed),
        queries=itertools.chain.from_iterable(source.queries for source in renamed),
        qrels={
            "train": itertools.chain.from_iterable(source.qrels["train"] for source in renamed),
            "valid": first.qrels["valid"],
        },
        pairs=itertools.chain.from_iterable(source.pairs for source in renamed),
        source={"mixture": [source.source for source in sources]},
        held_out=first.held_out,
    )


def _renamed(source: Training, prefix: str) -> Training:
    return Training(
        passages=(p._replace(id=prefix + p.id) for p in source.passages),
        queries=(q._replace(id=prefix + q.id) for q in source.queries),
        qrels={"train": _renamed_judgments(source.qrels["train"], prefix)},
        pairs=(
            Pair(prefix + q, prefix + p, tuple(prefix + n for n in negatives))
            for q, p, negatives in source.pairs
        ),
        source=source.source,
    )


def _renamed_judgments(judgments: Iterable[Judgment], prefix: str) -> Iterator[Judgment]:
    return (Judgment(prefix + q, prefix + p, grade) for q, p, grade in judgments)
