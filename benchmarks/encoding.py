"""Encoding speed compared with other libraries: same texts, maximum length and threads.

    python -m benchmarks.encoding                             # on this processor
    python -m benchmarks.encoding --device cuda --texts 20000
    python -m benchmarks.encoding --engines "this project" sentence-transformers

Reads data/collection and data/encoders/zero_shot. The engines take turns, each in a process of its
own. Loading, converting and a first small batch are not counted. An engine is skipped if its
libraries are not installed; sentence-transformers' ONNX and OpenVINO backends need
`pip install optimum-onnx optimum-intel onnxruntime openvino`. Cosines compare with
sentence-transformers' fp32 vectors. The share is the engine's rate divided by torch's rate of
matrix products in the same format; torch has no fast ones in int8.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.engines import CPU_ENGINES, ENCODER, ENGINES, GPU_ENGINES, REFERENCE
from dpr.base import runtime
from dpr.encoders import formats
from dpr.evaluation import markdown_tables
from dpr.evaluation.lengths import spaced
from dpr.records.corpus import Corpus
from dpr.settings import load_settings
from stages.run import parser

SKIPPED = 3  # exit code if the libraries of an engine are not installed


def main() -> None:
    command_line = parser("benchmarks.encoding", __doc__)
    command_line.add_argument("--texts", type=int, default=200)
    command_line.add_argument("--rounds", type=int, default=3)
    command_line.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    command_line.add_argument(
        "--engines", nargs="*", default=[""], metavar="START", help="only names with these prefixes"
    )
    command_line.add_argument("--one", help=argparse.SUPPRESS)  # the engine of a subprocess
    command_line.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = command_line.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments)))
        return
    engines = CPU_ENGINES if arguments.device == "cpu" else GPU_ENGINES
    chosen = [name for name in engines if name.startswith(tuple(arguments.engines))]
    chosen = list(dict.fromkeys([REFERENCE, *chosen]))
    measured: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for name in ["matrix", *chosen]:
                command = [sys.executable, "-m", "benchmarks.encoding", *sys.argv[1:]]
                command += ["--folder", folder, "--one", name]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
                if done.returncode == SKIPPED:
                    continue
                done.check_returncode()
                measured.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))
                print(name, measured[name][-1], file=sys.stderr)
    print(table(measured))


def table(measured: dict[str, list[dict[str, float]]]) -> str:
    matrix = {f: max(run[f] for run in measured["matrix"]) for f in measured["matrix"][0]}
    base = statistics.median(run["rate"] for run in measured[REFERENCE])
    rows = []
    for name, runs in measured.items():
        if name == "matrix":
            continue
        rates = [run["rate"] for run in runs]
        operations_a_second = runs[0]["flop"] * statistics.median(rates)
        of_torch = matrix.get(ENGINES[name][0])
        rows.append(
            [
                name,
                f"{statistics.median(rates):,.1f}",
                f"{min(rates):,.1f} to {max(rates):,.1f}",
                f"{statistics.median(rates) / base:.2f}",
                f"{operations_a_second / of_torch:.0%}" if of_torch else "-",
                f"{runs[0]['least']:.4f}, {runs[0]['mean']:.5f}",
            ]
        )
    products = ", ".join(f"{name} {rate / 1e9:,.0f}" for name, rate in matrix.items())
    header = ["engine", "passages/s", "least to most", "ratio", "share of torch's matrix rate"]
    return (
        markdown_tables.table([*header, "cosine: least, mean"], rows)
        + f"\n\ntorch's matrix products of 2048 x 384 x 1536, Gop/s: {products}"
    )


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    device = torch.device(arguments.device)
    if arguments.one == "matrix":
        runtime.set_up(load_settings("params.yaml").threads)
        return matrix_rates(device)
    texts = read_texts(arguments.texts)
    try:
        encode = ENGINES[arguments.one][1](device)
    except ImportError as error:
        print(f"{arguments.one}: left out, {error}", file=sys.stderr)
        sys.exit(SKIPPED)
    encode(texts[:16])
    started = now(device)
    vectors = encode(texts)
    seconds = now(device) - started
    reference = arguments.folder / "reference.npy"
    if not reference.exists():  # the first engine
        np.save(reference, vectors)
    cosines = (vectors * np.load(reference)).sum(axis=1)
    return {
        "rate": len(texts) / seconds,
        "flop": operations(texts),
        "least": float(cosines.min()),
        "mean": float(cosines.mean()),
    }


def read_texts(count: int) -> list[str]:
    """Passages evenly spaced over the collection, repeated if there are too few."""
    corpus = Corpus(Path("data/collection"), load_settings("params.yaml").data.separator)
    texts = [text for _, text in corpus.texts()]
    chosen = list(spaced(iter(texts), len(texts), count))[:count]
    return [chosen[i % len(chosen)] for i in range(count)]


def operations(texts: list[str]) -> float:
    """Mean floating point operations of a text's forward pass: products only, no padding."""
    from dpr.encoders import checkpoint

    encoder = checkpoint.load(ENCODER)
    backbone = encoder.passage.transformer.model
    lengths = np.array([len(tokens) for tokens in encoder.tokenize(texts, "passage")])
    weights = sum(p.numel() for p in backbone.encoder.parameters() if p.ndim == 2)
    attention = 4 * backbone.config.num_hidden_layers * encoder.dimension * lengths**2
    return float((2 * weights * lengths + attention).mean())


def matrix_rates(device: torch.device) -> dict[str, float]:
    """Operations per second by format, the best of several tries."""
    rates, times = {}, 50
    names: list[tuple[str, torch.dtype]] = [("fp32", torch.float32), *formats.HALF.items()]
    for name, dtype in names:
        if name == "fp16" and device.type == "cpu":
            continue
        a = torch.randn(2048, 384, device=device, dtype=dtype)
        b = torch.randn(1536, 384, device=device, dtype=dtype)
        torch.nn.functional.linear(a, b)
        seconds = []
        for _ in range(5):
            started = now(device)
            for _ in range(times):
                torch.nn.functional.linear(a, b)
            seconds.append(now(device) - started)
        rates[name] = 2 * 2048 * 384 * 1536 * times / min(seconds)
    return rates


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
