"""Time and peak memory of fuse, eval and compare for many topics.

    python -m benchmarks.runs                   # MS MARCO's size: 6,980 topics, 1,000 passages each
    python -m benchmarks.runs --topics 1000

The runs are random: each system finds the relevant passage and others among 8.8 million ids. The
stages of this repository run in a temporary folder, with this params.yaml.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow

from dpr.evaluation.markdown_tables import table
from dpr.records import beir
from dpr.records.run import Run
from dpr.records.types import Judgment, Query
from dpr.runs.trec import write_run
from stages.run import parser

PASSAGES = 8_841_823  # in MS MARCO
NEAR = 4_000  # passages per topic that all systems draw from, so that they share some
VALID = 1_000  # validation topics, at most
STAGES = ("fuse", "eval", "compare")


def main() -> None:
    arguments = parser("benchmarks.runs", __doc__)
    arguments.add_argument("--topics", type=int, default=6_980)
    arguments.add_argument("--depth", type=int, default=1_000)
    chosen = arguments.parse_args()
    root = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("params.yaml", "versions.yaml"):
            (folder / part).symlink_to(root / part)
        write(folder, chosen.topics, chosen.depth)
        for stage in STAGES:
            subprocess.run(
                [sys.executable, "-m", f"stages.{stage}"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(root), "DVC_ROOT": str(folder)},
                check=True,
            )
        costs = map(json.loads, (folder / ".scratch/costs.jsonl").read_text().splitlines())
        rows = [[c["stage"], f"{c['seconds']:.1f}", f"{c['peak_gib']:.2f}"] for c in costs]
    total = sum(float(row[1]) for row in rows)
    print(table(["stage", "seconds", "peak GiB"], [*rows, ["sum", f"{total:.1f}", ""]]))


def write(folder: Path, topics: int, depth: int) -> None:
    """Write queries, judgments and the runs of bm25, dense and zero_shot."""
    rng = np.random.default_rng(0)
    collection = folder / "data/collection"
    for split, count in (("test", topics), ("valid", min(topics, VALID))):
        query_ids = [f"{split}{number}" for number in range(count)]
        near = rng.integers(PASSAGES, size=(count, NEAR))
        judged = (Judgment(q, str(row[0]), 1) for q, row in zip(query_ids, near, strict=True))
        beir.write_qrels(collection, split, judged)
        for system in ("bm25", "dense", "zero_shot"):
            write_run(
                folder / f"data/runs/{split}/{system}.txt",
                drawn(query_ids, near, depth, rng),
                system,
            )
    names = [
        f"{s}{n}" for s, c in (("test", topics), ("valid", min(topics, VALID))) for n in range(c)
    ]
    beir.write_queries(collection, (Query(name, f"topic {name}") for name in names))


def drawn(query_ids: list[str], near: np.ndarray, depth: int, rng: np.random.Generator) -> Run:
    """`depth` of the near passages for each topic, with random scores."""
    count = len(query_ids)
    columns = np.argpartition(rng.random((count, NEAR), np.float32), depth, axis=1)[:, :depth]
    rows = np.take_along_axis(near, columns, axis=1)
    keys = np.unique(np.arange(count)[:, None] * PASSAGES + rows)  # a passage once per topic
    topics, rows = np.divmod(keys, PASSAGES)
    distinct, passages = np.unique(rows, return_inverse=True)
    ids = pyarrow.array(distinct).cast(pyarrow.string())
    return Run.of_rows(query_ids, topics, ids, passages, rng.random(len(keys), np.float32))


if __name__ == "__main__":
    main()
