"""The order of a run: decided here for files, measures and fusions."""

import numpy as np


def ranking(scores: dict[str, float]) -> list[tuple[str, float]]:
    """(passage id, 32-bit score), best first, equal scores by id descending: trec_eval's order."""
    rounded = np.fromiter(scores.values(), np.float32, len(scores)).tolist()
    order = sorted(zip(rounded, scores, strict=True), reverse=True)
    return [(passage_id, score) for score, passage_id in order]
