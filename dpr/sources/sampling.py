"""Which examples of a source are used, and which queries are held out for validation."""

import itertools
import random
from array import array
from collections import Counter
from collections.abc import Iterable

import numpy as np

from dpr.base.errors import InputError
from dpr.records.types import Item, Stream
from dpr.settings import DataSettings


def draw(items: Iterable[Item], limit: int | None, seed: int) -> Iterable[Item]:
    """`limit` items drawn by seed, in their order; all items if there are fewer, or no limit.

    Args:
        items: a list or a `Stream`; they are counted first.
    """
    if limit is None:
        return items
    count, rng = sum(1 for _ in items), random.Random(seed)
    drawn = np.arange(min(limit, count))
    for number in range(limit, count):  # Vitter 1985, algorithm R
        if (position := rng.randrange(number + 1)) < limit:
            drawn[position] = number
    chosen = np.zeros(count, bool)
    chosen[drawn] = True
    return Stream(lambda: itertools.compress(items, chosen))


def hold_out(query_ids: Iterable[str], count: int, seed: int) -> set[str]:
    """Queries for validation, drawn by seed until they have `count` examples in total.

    Args:
        query_ids: the query of each example.
    Raises:
        InputError: if that leaves no query for training.
    """
    examples = Counter(query_ids)
    names = sorted(examples)
    sizes = np.array([examples[name] for name in names], np.int64)
    return {names[position] for position in _held_out(sizes, count, seed)}


def hold_out_numbers(queries: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`hold_out` for queries numbered from 0 without a gap, as if their ids were the digits."""
    sizes = np.bincount(queries)
    order = np.argsort(np.arange(len(sizes)).astype(f"S{len(str(len(sizes)))}"))
    return order[_held_out(sizes[order], count, seed)]


def held_out_by(data: DataSettings) -> dict[str, int]:
    """For the manifest."""
    return {"held_out": data.held_out, "held_out_seed": data.held_out_seed}


def _held_out(sizes: np.ndarray, count: int, seed: int) -> list[int]:
    """The positions of the chosen queries, from the number of examples of each query."""
    order = array("q", range(len(sizes)))
    random.Random(seed).shuffle(order)
    chosen: list[int] = []
    held = 0
    for position in order:
        if held >= count:
            break
        chosen.append(position)
        held += int(sizes[position])
    if len(chosen) == len(sizes):
        raise InputError(
            f"params.yaml: data.held_out: holding out {count} of {sizes.sum()} training examples "
            "for validation leaves nothing to train on; lower it"
        )
    return chosen
