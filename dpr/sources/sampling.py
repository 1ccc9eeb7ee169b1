"""Which examples of a source are used, and which are held out for validation."""

import random
from collections.abc import Iterable
from typing import TypeVar

from dpr.base.errors import InputError

Item = TypeVar("Item")


def draw(items: Iterable[Item], limit: int | None, seed: int) -> list[Item]:
    """`limit` items, drawn by seed in one pass, in their order; None takes all.

    Only what is drawn is in memory (Vitter 1985, algorithm R).
    """
    if limit is None:
        return list(items)
    rng = random.Random(seed)
    drawn: list[tuple[int, Item]] = []
    for number, item in enumerate(items):
        if number < limit:
            drawn.append((number, item))
        elif (place := rng.randrange(number + 1)) < limit:
            drawn[place] = (number, item)
    return [item for _, item in sorted(drawn, key=lambda pair: pair[0])]


def hold_out(query_ids: list[str], count: int, seed: int) -> set[str]:
    """Queries, drawn by seed until they have `count` examples in total.

    Args:
        query_ids: the query of each example.
    Raises:
        InputError: if nothing would be left to train on.
    """
    examples: dict[str, int] = {}
    for query_id in query_ids:
        examples[query_id] = examples.get(query_id, 0) + 1
    order = sorted(examples)
    random.Random(seed).shuffle(order)
    chosen: set[str] = set()
    held = 0
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
