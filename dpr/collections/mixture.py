"""Training data of several sources as one."""

import itertools
from collections.abc import Iterator

from dpr.collections.records import Judgment, Pair, Training


def mix(sources: list[Training]) -> Training:
    """The pairs of all sources; the topics of the first alone validate.

    With a second source they are ranked among its passages too, so compare by nDCG@10 of the
    searched collection. Ids of the second are `2-ID`, and so on: two sources may use the same.
    """
    first, *others = sources
    if not others:
        return first
    marked = [first, *(_marked(source, f"{n}-") for n, source in enumerate(others, start=2))]
    return Training(
        passages=itertools.chain.from_iterable(source.passages for source in marked),
        queries=itertools.chain.from_iterable(source.queries for source in marked),
        qrels={
            "train": itertools.chain.from_iterable(source.qrels["train"] for source in marked),
            "valid": first.qrels["valid"],
        },
        pairs=itertools.chain.from_iterable(source.pairs for source in marked),
        source={"mixture": [source.source for source in sources]},
    )


def _marked(source: Training, mark: str) -> Training:
    return Training(
        passages=(p._replace(id=mark + p.id) for p in source.passages),
        queries=(q._replace(id=mark + q.id) for q in source.queries),
        qrels={"train": _marked_judgments(source.qrels["train"], mark)},
        pairs=(
            Pair(mark + q, mark + p, tuple(mark + n for n in negatives))
            for q, p, negatives in source.pairs
        ),
        source=source.source,
    )


def _marked_judgments(judgments, mark: str) -> Iterator[Judgment]:
    return (Judgment(mark + q, mark + p, grade) for q, p, grade in judgments)
