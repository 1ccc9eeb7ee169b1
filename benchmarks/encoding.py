"""Encoding speed beside its peers: same texts, same length, same threads, text to vector.

    python -m benchmarks.encoding                             # on this processor
    python -m benchmarks.encoding --device cuda --texts 20000
    python -m benchmarks.encoding --engines "this project" sentence-transformers

Reads data/collection and data/encoders/zero_shot. The engines take turns, each in a process of its
own; loading, converting and a first small batch are not counted. An engine whose libraries are not
installed is left out; sentence-transformers' ONNX and OpenVINO backends need
`pip install optimum-onnx optimum-intel onnxruntime openvino`. The cosine is to
sentence-transformers' fp32 vectors. The share is the part of this machine's own rate of matrix
products in that format which the engine reaches.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dpr.base import runtime
from dpr.base.threads import thread_count
from dpr.encoders import formats
from dpr.encoders.embedder import Embedder
from dpr.evaluation import report
from dpr.evaluation.lengths import spaced
from dpr.records.corpus import Corpus
from dpr.settings import load_settings
from stages.run import SCRATCH, parser

ENCODER = Path("data/encoders/zero_shot")
Encode = Callable[[list[str]], np.ndarray]
REFERENCE = "sentence-transformers, fp32"
LEFT_OUT = 3  # exit code of an engine whose libraries are not installed


def ours(precision: str) -> Callable[[torch.device], Encode]:
    def open_engine(device: torch.device) -> Encode:
        settings = load_settings("params.yaml")
        threads = runtime.set_up(settings.threads)
        options = settings.encode.model_copy(update={"precision": precision})
        embedder = Embedder(ENCODER, options, device, threads, SCRATCH)
        return lambda texts: embedder.embed_texts(texts, "passage")

    return open_engine


def theirs(**options: Any) -> Callable[[torch.device], Encode]:
    def open_engine(device: torch.device) -> Encode:
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(thread_count(load_settings("params.yaml").threads))
        model = SentenceTransformer(str(ENCODER), device=str(device), **options)
        size = 32 if device.type == "cpu" else 256
        return lambda texts: model.encode(texts, batch_size=size, show_progress_bar=False)

    return open_engine


def plain(device: torch.device) -> Encode:
    """transformers alone: batches of 32 in the given order, padded, mean of the token states."""
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(thread_count(load_settings("params.yaml").threads))
    model = AutoModel.from_pretrained(ENCODER).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(ENCODER)
    limit = load_settings("params.yaml").model.passage_max_length

    @torch.inference_mode()
    def encode(texts: list[str]) -> np.ndarray:
        vectors = []
        for at in range(0, len(texts), 32):
            batch = tokenizer(
                texts[at : at + 32],
                padding=True,
                truncation=True,
                max_length=limit,
                return_tensors="pt",
            ).to(device)
            states, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
            mean = (states * mask).sum(1) / mask.sum(1)
            vectors.append(torch.nn.functional.normalize(mean, dim=-1).cpu().numpy())
        return np.concatenate(vectors)

    return encode


def onnx_int8(device: torch.device) -> Encode:
    """sentence-transformers' own dynamic int8 export of its ONNX backend."""
    from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(ENCODER, Path(folder) / "model"))
        model = SentenceTransformer(str(copy), backend="onnx", device="cpu")
        export_dynamic_quantized_onnx_model(model, "avx2", str(copy))
        file = {"file_name": "model_qint8_avx2.onnx"}
        model = SentenceTransformer(str(copy), backend="onnx", device="cpu", model_kwargs=file)
    return lambda texts: model.encode(texts, show_progress_bar=False)


CPU_ENGINES: dict[str, tuple[str, Callable[[torch.device], Encode]]] = {
    REFERENCE: ("fp32", theirs()),
    "sentence-transformers, bf16": ("bf16", theirs(model_kwargs={"dtype": torch.bfloat16})),
    "sentence-transformers, ONNX fp32": ("fp32", theirs(backend="onnx")),
    "sentence-transformers, OpenVINO fp32": ("fp32", theirs(backend="openvino")),
    "sentence-transformers, ONNX int8": ("int8", onnx_int8),
    "transformers, fp32": ("fp32", plain),
    "this project, fp32": ("fp32", ours("fp32")),
    "this project, bf16": ("bf16", ours("bf16")),
    "this project, int8": ("int8", ours("int8")),
}
GPU_ENGINES = {
    REFERENCE: ("fp32", theirs()),
    "sentence-transformers, bf16": ("bf16", theirs(model_kwargs={"dtype": torch.bfloat16})),
    "this project, fp32": ("fp32", ours("fp32")),
    "this project, bf16": ("bf16", ours("bf16")),
    "this project, fp16": ("fp16", ours("fp16")),
}
ENGINES = CPU_ENGINES | GPU_ENGINES


def main() -> None:
    command_line = parser("benchmarks.encoding", __doc__)
    command_line.add_argument("--texts", type=int, default=200)
    command_line.add_argument("--rounds", type=int, default=3)
    command_line.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    command_line.add_argument(
        "--engines", nargs="*", default=[""], metavar="START", help="only names that start so"
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
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for name in ["matrix", *chosen]:
                command = [sys.executable, "-m", "benchmarks.encoding", *sys.argv[1:]]
                command += ["--folder", folder, "--one", name]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
                if done.returncode == LEFT_OUT:
                    continue
                done.check_returncode()
                found.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))
                print(name, found[name][-1], file=sys.stderr)
    print(table(found))


def table(found: dict[str, list[dict[str, float]]]) -> str:
    matrix = {f: max(run[f] for run in found["matrix"]) for f in found["matrix"][0]}
    base = statistics.median(run["rate"] for run in found[REFERENCE])
    rows = []
    for name, runs in found.items():
        if name == "matrix":
            continue
        rates = [run["rate"] for run in runs]
        format = ENGINES[name][0]
        share = runs[0]["flop"] * statistics.median(rates) / matrix[format]
        rows.append(
            [
                name,
                f"{statistics.median(rates):,.1f}",
                f"{min(rates):,.1f} to {max(rates):,.1f}",
                f"{statistics.median(rates) / base:.2f}",
                f"{share:.0%}" if format in matrix else "-",
                f"{runs[0]['least']:.4f}, {runs[0]['mean']:.5f}",
            ]
        )
    products = ", ".join(f"{name} {rate / 1e9:,.0f}" for name, rate in matrix.items())
    header = ["engine", "passages/s", "least to most", "ratio", "share of the matrix rate"]
    return (
        report.table([*header, "cosine: least, mean"], rows)
        + f"\n\nMatrix products of 2048 x 384 x 1536, Gop/s: {products}"
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
        sys.exit(LEFT_OUT)
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
    """Passages evenly spaced over the collection; repeated, if there are too few."""
    corpus = Corpus(Path("data/collection"), load_settings("params.yaml").data.separator)
    texts = [text for _, text in corpus.texts()]
    found = list(spaced(iter(texts), len(texts), count))[:count]
    return [found[i % len(found)] for i in range(count)]


def operations(texts: list[str]) -> float:
    """Floating point operations of a text's forward pass, in the mean: products, no padding."""
    from dpr.encoders import checkpoint

    encoder = checkpoint.load(ENCODER)
    backbone = encoder.passage.backbone
    lengths = np.array([len(tokens) for tokens in encoder.tokenize(texts, "passage")])
    weights = sum(p.numel() for p in backbone.encoder.parameters() if p.ndim == 2)
    attention = 4 * backbone.config.num_hidden_layers * encoder.dimension * lengths**2
    return float((2 * weights * lengths + attention).mean())


def matrix_rates(device: torch.device) -> dict[str, float]:
    """Operations a second by format, the best of several tries."""

    def rate(multiply: Callable[[], Any], times: int = 50) -> float:
        multiply()
        seconds = []
        for _ in range(5):
            started = now(device)
            for _ in range(times):
                multiply()
            seconds.append(now(device) - started)
        return 2 * 2048 * 384 * 1536 * times / min(seconds)

    rates = {}
    names: list[tuple[str, torch.dtype]] = [("fp32", torch.float32), *formats.HALF.items()]
    for name, dtype in names:
        if name == "fp16" and device.type == "cpu":
            continue
        a = torch.randn(2048, 384, device=device, dtype=dtype)
        b = torch.randn(1536, 384, device=device, dtype=dtype)
        rates[name] = rate(lambda a=a, b=b: torch.nn.functional.linear(a, b))  # type: ignore[misc]
    if device.type == "cpu":
        a = torch.randint(-127, 127, (2048, 384), dtype=torch.int8)
        b = torch.randint(-127, 127, (1536, 384), dtype=torch.int8).t()
        rates["int8"] = rate(lambda: torch._int_mm(a, b))
    return rates


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
