"""The systems in plain words, and the best of them by metrics/compare.json."""

from pathlib import Path

from dpr.base.files import read_json
from dpr.measures import PRIMARY_MEASURE
from dpr.records.types import SYSTEMS

COMPARED = Path("metrics/compare.json")
DESCRIPTIONS: dict[str, str] = {
    "bm25": "words (BM25)",
    "zero_shot": "encoder before training",
    "dense": "trained encoder",
    "rrf": "trained encoder + BM25, by rank",
    "hybrid": "trained encoder + BM25, by score",
}


def measured() -> dict[str, float]:
    """The mean of the primary measure by system; empty before the stage `compare`.

    Runs of foreign systems are left out: they cannot be asked.
    """
    if not COMPARED.exists():
        return {}
    means = read_json(COMPARED)["systems"]
    return {name: means[name][PRIMARY_MEASURE]["mean"] for name in SYSTEMS if name in means}


def best() -> str | None:
    """The system with the highest mean, of equal ones the first in tables; None if unknown."""
    means = measured()
    return max(means, key=means.__getitem__, default=None)
