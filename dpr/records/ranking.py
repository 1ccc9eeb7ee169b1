"""The order of a run: decided here for files, measures and fusions.

It is trec_eval's: by score as a 32-bit float, best first; equal scores by id, descending.
"""

from collections.abc import Callable, Mapping

import numpy as np


def ranking(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """(passage id, 32-bit score) of one topic, in order."""
    rounded = np.fromiter(scores.values(), np.float32, len(scores)).tolist()
    order = sorted(zip(rounded, scores, strict=True), reverse=True)
    return [(passage_id, score) for score, passage_id in order]


def order(
    topics: np.ndarray, scores: np.ndarray, ascending: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """The rows of many topics in order, topic after topic: (R,) int64 positions.

    Args:
        topics: (R,) int, of each row.
        scores: (R,) float32.
        ascending: for some rows, numbers that ascend with their ids. (Most rows are not tied.)
    """
    keys = topics.astype(np.uint64) << np.uint64(32) | _descending(scores)
    found = np.argsort(keys, kind="stable")
    keys = keys[found]
    equal = keys[1:] == keys[:-1]
    tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
    if len(tied):
        found[tied] = found[tied[np.lexsort((-ascending(found[tied]), keys[tied]))]]
    return found


def _descending(scores: np.ndarray) -> np.ndarray:
    """uint64 numbers below 2^32 that ascend as the 32-bit floats descend."""
    bits = (scores + np.float32(0)).view(np.uint32)  # -0 becomes 0
    ascending = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return (~ascending).astype(np.uint64)
