"""Which system is best, and which one is asked."""

from pathlib import Path

import pytest

from dpr.base.files import write_json
from dpr.records.types import SYSTEMS
from tools import sides, systems

pytestmark = pytest.mark.usefixtures("here")


def compared(**means):
    found = {name: {"nDCG@10": {"mean": mean}, "AP": {"mean": 0.9}} for name, mean in means.items()}
    write_json("metrics/compare.json", {"systems": found})


def test_each_system_has_a_description():
    assert list(systems.DESCRIPTIONS) == list(SYSTEMS)


@pytest.mark.parametrize(
    ("means", "best"),
    [
        ({"hybrid": 0.4, "bm25": 0.5, "dense": 0.3}, "bm25"),
        ({"dense": 0.5, "zero_shot": 0.5}, "zero_shot"),
        ({"splade": 0.9, "rrf": 0.2}, "rrf"),
        ({"splade": 0.9}, None),
    ],
)
def test_the_best_system(means, best):
    compared(**means)
    assert systems.best() == best


def test_before_compare_no_system_is_best():
    assert systems.best() is None


BM25 = ["data/indexes/bm25"]
ZERO_SHOT, DENSE = (
    [f"data/{part}/{system}" for part in ("encoders", "embeddings", "indexes")]
    for system in ("zero_shot", "dense")
)
ALL = [*BM25, *ZERO_SHOT, *DENSE, "metrics/fuse.json"]
HYBRID, NOTHING = {"hybrid": 0.4768, "dense": 0.3}, {}
LACKS = "hybrid is best in metrics/compare.json, but {} is missing"


@pytest.mark.parametrize(
    ("means", "present", "topics", "stale", "expected"),
    [
        (HYBRID, ALL, 9, None, ("hybrid", "best here", 0.4768)),
        (HYBRID, ALL, 9, "changed", ("hybrid", "best when last measured", 0.4768)),
        ({"bm25": 0.1}, BM25, 9, None, ("bm25", "best here", 0.1)),
        (HYBRID, ALL[:-1], 9, None, ("dense", LACKS.format("metrics/fuse.json"), None)),
        (HYBRID, ALL[1:], 9, None, ("dense", LACKS.format(BM25[0]), None)),
        (HYBRID, ALL[:-2], 9, None, ("zero_shot", LACKS.format(DENSE[-1]), None)),
        (NOTHING, ALL, 9, None, ("dense", "nothing is compared yet", None)),
        (NOTHING, BM25 + ZERO_SHOT, 9, None, ("zero_shot", "nothing is compared yet", None)),
        (NOTHING, BM25, 9, None, ("bm25", "nothing is compared yet", None)),
        (NOTHING, [], 9, None, ("dense", "nothing is compared yet", None)),
        # The figures and the trained encoder are of an earlier collection.
        (HYBRID, ALL, 0, None, ("zero_shot", "no judged questions here to measure with", None)),
    ],
)
def test_the_system_to_ask(means, present, topics, stale, expected, monkeypatch):
    monkeypatch.setattr(sides, "stale", lambda *stages: stale)
    if means:
        compared(**means)
    for path in present:
        Path(path).mkdir(parents=True)
    judgments = {"test": {"queries": topics}} if topics else {}
    write_json("data/manifest.json", {"collection": {"judgments": judgments}})
    assert systems.default() == expected


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (("hybrid", "best here", 0.4768), "hybrid (best here: nDCG@10 .477): trained encoder"),
        (("dense", "best here", 1.0), "dense (best here: nDCG@10 1.000): trained encoder"),
        (("zero_shot", "nothing yet"), "zero_shot (nothing yet): encoder before training"),
        (("bm25",), "bm25: words"),
    ],
)
def test_a_choice_in_words(choice, words):
    assert systems.Choice(*choice).words.startswith(words)
