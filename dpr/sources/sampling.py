"""Which examples of a source are used, and which are held out for validation."""

import itertools
import random
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

from dpr.base.errors import InputError

Item = TypeVar("Item")


def draw(items: Iterable[Item], limit: int | None, seed: int) -> list[Item]:
    """`limit` items, drawn by seed in one pass, in their order; None takes all.

    Only what is drawn is in memory.
    """
    if limit is None:
        return list(items)
    drawn: dict[int, tuple[int, Item]] = {}
    for (number, item), place in zip(enumerate(items), _places(limit, seed), strict=False):
        if place < limit:
            drawn[place] = (number, item)
    return [item for _, item in sorted(drawn.values(), key=lambda pair: pair[0])]


def draw_numbers(count: int, limit: int, seed: int) -> np.ndarray:
    """Which of `count` items `draw` takes: an array of bool, (count,)."""
    drawn = np.arange(min(limit, count))
    for number, place in zip(range(count), _places(limit, seed), strict=False):
        if place < limit:
            drawn[place] = number
    chosen = np.zeros(count, bool)
    chosen[drawn] = True
    return chosen


def _places(limit: int, seed: int) -> Iterator[int]:
    """Where in the sample each item goes; `limit` or more: nowhere (Vitter 1985, algorithm R)."""
    yield from range(limit)
    rng = random.Random(seed)
    for number in itertools.count(limit):
        yield rng.randrange(number + 1)


def hold_out(query_ids: list[str], count: int, seed: int) -> set[str]:
    """Queries, drawn by seed until they have `count` examples in total.

    Args:
        query_ids: the query of each example.
    Raises:
        InputError: if nothing would be left to train on.
    """
    examples = Counter(query_ids)
    names = sorted(examples)
    sizes = np.array([examples[name] for name in names], np.int64)
    return {names[place] for place in _held_out(sizes, count, seed)}


def hold_out_numbers(queries: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The same of queries that are numbers from 0, none left out: those that are chosen.

    Each is chosen if `hold_out` would choose it by its number as text.
    """
    sizes = np.bincount(queries)
    order = np.argsort(np.arange(len(sizes)).astype(f"S{len(str(len(sizes)))}"))
    return order[_held_out(sizes[order], count, seed)]


def _held_out(sizes: np.ndarray, count: int, seed: int) -> list[int]:
    """The places of the chosen queries. `sizes`: how many examples each query has."""
    order = array("q", range(len(sizes)))
    random.Random(seed).shuffle(order)
    chosen: list[int] = []
    held = 0
    for place in order:
        if held >= count:
            break
        chosen.append(place)
        held += int(sizes[place])
    if len(chosen) == len(sizes):
        raise InputError(
            f"params.yaml: data.held_out: {count} of {sizes.sum()} training examples held out "
            "for validation leave nothing to train on; lower it"
        )
    return chosen
