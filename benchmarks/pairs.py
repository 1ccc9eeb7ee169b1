"""Memory and time for reading training pairs, by their number.

    python -m benchmarks.pairs                        # 50 thousand, 500 thousand, 5 million
    python -m benchmarks.pairs --pairs 50000

Writes synthetic pairs of a query and a passage with random words, reads them as the stage `train`
does, and draws 200 batches of 64. Each number has a process of its own. Needs
data/encoders/zero_shot (`dvc repro init`) and temporary space: 2 GB for 5 million pairs.
"""

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dpr.base import runtime
from dpr.base.environment import processor
from dpr.encoders import checkpoint
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Judgment, Pair, Passage, Query
from dpr.settings import load_settings
from dpr.training.pairs import PairSet
from stages.run import peak_gib

NUMBERS = [50_000, 500_000, 5_000_000]
BATCHES = 200
STARTS, ENDS = ("cardio", "neuro", "hepato", "osteo"), ("gram", "logy", "pathy")
WORDS = [f"{start}{end}" for start in STARTS for end in ENDS]


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--pairs", type=int, nargs="+", default=NUMBERS)
    numbers = arguments.parse_args().pairs
    if len(numbers) == 1:
        print(json.dumps(measured(numbers[0])))
        return
    print(f"{processor()}\n\n| pairs | reading, s | {BATCHES} batches, s | peak, GiB |")
    print("|---|---|---|---|")
    for number in numbers:
        command = [sys.executable, "-m", "benchmarks.pairs", "--pairs", str(number)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(f"| {number:,} | {row['read']:.0f} | {row['batches']:.1f} | {row['peak']:.2f} |")


def measured(number: int) -> dict[str, float]:
    """Seconds for reading and for the batches, and the peak memory of this process in GiB."""
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads, settings.seed)
    with tempfile.TemporaryDirectory() as name:
        folder, work = Path(name) / "training", Path(name) / "work"
        work.mkdir()
        write(folder, number)
        encoder = checkpoint.load("data/encoders/zero_shot")
        started = time.monotonic()
        pairs = PairSet(
            Corpus(folder, ". "), beir.stream_pairs(folder), encoder, settings.train, work
        )
        read = time.monotonic()
        for _ in itertools.islice(pairs.batches(settings.seed), BATCHES):
            pass
        ended = time.monotonic()
    return {"read": read - started, "batches": ended - read, "peak": peak_gib()}


def write(folder: Path, number: int) -> None:
    beir.write_queries(folder, (Query(f"q{i}", text) for i, text in texts(number, 6)))
    beir.write_passages(folder, (Passage(f"p{i}", "", text) for i, text in texts(number, 24)))
    beir.write_pairs(folder, (Pair(f"q{i}", f"p{i}") for i in range(number)))
    beir.write_qrels(folder, "train", (Judgment(f"q{i}", f"p{i}", 1) for i in range(number)))


def texts(number: int, words: int) -> Iterator[tuple[int, str]]:
    rng = random.Random(words)
    for i in range(number):
        yield i, " ".join([*rng.choices(WORDS, k=words), str(i)])


if __name__ == "__main__":
    main()
