"""Which examples of a source are used, and which are held out for validation."""

import random
from collections.abc import Iterable, Iterator
from typing import TypeVar

from dpr.base.errors import InputError

Item = TypeVar("Item")


def take(items: Iterable[Item], limit: int | None) -> Iterator[Item]:
    """The first `limit` items; None takes all."""
    for count, item in enumerate(items):
        if count == limit:
            return
        yield item


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
