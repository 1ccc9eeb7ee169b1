"""Time and memory to build and search each kind of index, over generated vectors in clusters.

    python -m benchmarks.indexes --count 1000000 --dimension 128
    python -m benchmarks.indexes --count 8841823 --dimension 384 --dtype float16 --kinds flat

Each kind is built in a process of its own. `build peak` is the additional memory of the build,
`peak / size` is its ratio to the index file's size, and `search peak` also covers the search.
`search / flat` is the ratio to the time of exact search.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from dpr.base import runtime
from dpr.base.environment import thread_count
from dpr.base.files import read_json, sha256, write_json
from dpr.embeddings.artifact import MANIFEST, VECTORS, Embeddings, stored_type, to_stored
from dpr.evaluation.markdown_tables import table
from dpr.indexes.audit import recall
from dpr.indexes.build import build
from dpr.indexes.exact_search import Resources, exact_search
from dpr.indexes.index import FILE, Index
from dpr.indexes.kinds import KINDS
from dpr.records.ids import LINES, write_ids
from dpr.settings import load_settings
from stages.run import parser

CLUSTERS, SPREAD, CHUNK = 2_000, 0.7, 65_536
QUERIES, TOP_K = 200, 100


def main() -> None:
    command_line = parser("benchmarks.indexes", __doc__)
    command_line.add_argument("--count", type=int, default=1_000_000)
    command_line.add_argument("--dimension", type=int, default=128)
    command_line.add_argument("--kinds", nargs="*", default=list(KINDS))
    command_line.add_argument("--dtype", default="float32", help="float32, float16 or int8")
    command_line.add_argument(
        "--memory", type=float, help="GiB for exact search; default: search.memory"
    )
    command_line.add_argument("--one", help=argparse.SUPPRESS)  # the kind of a subprocess
    command_line.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = command_line.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, Path(arguments.folder), arguments.memory)))
        return
    with tempfile.TemporaryDirectory() as name:
        generate(Path(name), arguments.count, arguments.dimension, arguments.dtype)
        rows = []
        for kind in arguments.kinds:
            command = [sys.executable, "-m", "benchmarks.indexes", "--one", kind, "--folder", name]
            command += ["--memory", str(arguments.memory)] if arguments.memory else []
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], file=sys.stderr)
    print(f"{arguments.count:,} vectors of {arguments.dimension} dimensions, {TOP_K} of each of")
    print(f"{QUERIES} queries, {thread_count(load_settings('params.yaml').threads)} threads\n")
    flat = next((row["search_s"] for row in rows if row["kind"] == "flat"), None)
    header = ["kind", "build s", "search s", "search / flat", "recall@10", "bytes per vector"]
    print(
        table(
            [*header, "build peak MiB", "peak / size", "search peak MiB"],
            [
                [
                    row["kind"],
                    f"{row['build_s']:.1f}",
                    f"{row['search_s']:.2f}",
                    f"{row['search_s'] / flat:.2f}" if flat else "-",
                    f"{row['recall']:.3f}",
                    f"{row['size'] / arguments.count:.0f}",
                    f"{row['peak'] / 2**20:.0f}",
                    f"{row['peak'] / row['size']:.2f}",
                    f"{row['search_peak'] / 2**20:.0f}",
                ]
                for row in rows
            ],
        )
    )


def generate(folder: Path, count: int, dimension: int, dtype: str) -> None:
    """Unit vectors around `CLUSTERS` centers, by seed, written chunk by chunk."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(CLUSTERS, dimension))

    def draw(size: int) -> np.ndarray:
        noise = SPREAD * rng.normal(size=(size, dimension))
        vectors = centers[rng.integers(CLUSTERS, size=size)] + noise
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    row = stored_type(dtype, dimension)
    vectors = np.lib.format.open_memmap(
        folder / VECTORS, mode="w+", dtype=row.base, shape=(count, *row.shape)
    )
    for start in range(0, count, CHUNK):
        chunk = draw(len(vectors[start : start + CHUNK]))
        vectors[start : start + CHUNK] = to_stored(chunk, dtype)
    vectors.flush()
    write_ids(folder, map(str, range(count)), count)
    manifest: dict[str, Any] = {"similarity": "cosine", "count": count, "dimension": dimension}
    manifest["dtype"] = dtype
    manifest["sha256"] = sha256(folder / VECTORS)
    manifest["ids_sha256"] = sha256(folder / LINES)
    write_json(folder / MANIFEST, manifest | {"encoder": {"sha256": "-"}, "format": "fp32"})
    queries = draw(QUERIES)
    np.save(folder / "queries.npy", queries)
    np.save(folder / "exact.npy", exact_search(Embeddings.open(folder), queries, TOP_K)[1])


def measure(kind: str, folder: Path, gib: float | None) -> dict[str, Any]:
    settings = load_settings("params.yaml")
    resources = Resources(gib or settings.search.memory)
    runtime.set_up(settings.threads, settings.seed)
    embeddings, queries = Embeddings.open(folder), np.load(folder / "queries.npy")
    options = settings.index.model_copy(update={"kind": kind})
    before = memory("VmRSS")
    started = time.perf_counter()
    index = build(embeddings, options, settings.seed, folder / kind)
    built, peak = time.perf_counter() - started, memory("VmHWM")
    started = time.perf_counter()
    size = embeddings.vectors.nbytes if index is None else (folder / kind / FILE).stat().st_size
    opened = Index(index, embeddings, read_json(folder / kind / MANIFEST), size, resources)
    rows = opened.search(queries, TOP_K)[1]
    return {
        "kind": kind,
        "build_s": built,
        "search_s": time.perf_counter() - started,
        "recall": recall(rows, np.load(folder / "exact.npy"), 10),
        "size": size,
        "peak": peak - before,
        "search_peak": memory("VmHWM") - before,
    }


def memory(field: str) -> int:
    """This process's memory in bytes: now (VmRSS) or at its peak (VmHWM). Linux only.

    (The peak of getrusage includes the parent's memory at the start of this process.)
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
