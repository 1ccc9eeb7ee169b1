"""The systems in plain words, the best of them by metrics/compare.json, and the one to ask."""

from pathlib import Path
from typing import NamedTuple

from dpr.base.files import read_json
from dpr.measures import PRIMARY_MEASURE
from dpr.records.types import ENCODERS, SYSTEMS
from dpr.settings import Settings, load_settings
from tools import sides

COMPARED = Path("metrics/compare.json")
DESCRIPTIONS: dict[str, str] = {
    "bm25": "words (BM25)",
    "zero_shot": "encoder before training",
    "dense": "trained encoder",
    "rrf": "trained encoder + BM25, by rank",
    "hybrid": "trained encoder + BM25, by score",
    "reranked": "first passages of a run, by a cross-encoder",
}


def descriptions_of(settings: Settings) -> dict[str, str]:
    """The same for these settings, which may train nothing."""
    if settings.trains("first"):
        return DESCRIPTIONS
    untrained = {"zero_shot": "encoder, not trained", "dense": "the same encoder, not trained"}
    return {s: untrained.get(s, w.replace("trained ", "")) for s, w in DESCRIPTIONS.items()}


def measured() -> dict[str, float]:
    """The mean of the primary measure by system; empty before the stage `compare`.

    Runs of foreign systems are left out: they cannot be asked.
    """
    if not COMPARED.exists():
        return {}
    means = read_json(COMPARED)["systems"]
    if not load_settings("params.yaml").rerank.model:
        means.pop("reranked", None)  # of earlier parameters
    return {name: means[name][PRIMARY_MEASURE]["mean"] for name in SYSTEMS if name in means}


def best() -> str | None:
    """The system with the highest mean, of equal ones the first in tables; None if unknown."""
    means = measured()
    return max(means, key=means.__getitem__, default=None)


class Choice(NamedTuple):
    """A system to ask.

    Args:
        why: why it is asked, if nobody chose it.
        figure: its mean of the primary measure, if it is the best system.
    """

    system: str
    why: str = ""
    figure: float | None = None

    @property
    def words(self) -> str:
        """`hybrid (best here: nDCG@10 .477): ...`"""
        mean = "" if self.figure is None else f": {PRIMARY_MEASURE} {short(f'{self.figure:.3f}')}"
        why = f" ({self.why}{mean})" if self.why else ""
        return f"{self.system}{why}: {descriptions_of(load_settings('params.yaml'))[self.system]}"


def default() -> Choice:
    """The best system, if all that it reads is here; else the best encoder here, or BM25."""
    topics = read_json(sides.MANIFEST)["collection"]["judgments"].get("test", {}).get("queries")
    name = best() if topics else None
    lacking = missing(name) if name else None
    if name and lacking is None:
        why = "best when last measured" if sides.stale("compare") else "best here"
        return Choice(name, why, measured()[name])
    why = "nothing is compared yet" if topics else "no judged questions here to measure with"
    if name:
        why = f"{name} is best in {COMPARED}, but {lacking} is missing"
    # Without topics, an encoder was trained for a different collection.
    systems = ("dense", "zero_shot", "bm25") if topics else ("zero_shot", "bm25")
    return Choice(next((s for s in systems if missing(s) is None), systems[0]), why)


def missing(system: str) -> Path | None:
    """The first file or folder that a system reads and that is not here; None if all are."""
    if system == "reranked":
        options = load_settings("params.yaml").rerank
        trained = Path("data/reranker")
        lacks = options.trains and not trained.exists()
        return missing(options.run) or (trained if lacks else None)
    encoders = {"bm25": [], "rrf": ["dense"], "hybrid": ["dense"]}.get(system, [system])
    parts = ("encoders", "embeddings", "indexes")
    needed = [Path("data", part, encoder) for encoder in encoders for part in parts]
    needed += [Path("data/indexes/bm25")] if system not in ENCODERS else []
    needed += [Path("metrics/fuse.json")] if system == "hybrid" else []
    return next((path for path in needed if not path.exists()), None)


def short(number: str) -> str:
    """A number without the zero before its point: .477."""
    return number[1:] if number.startswith("0.") else number
