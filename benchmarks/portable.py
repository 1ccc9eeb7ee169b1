"""Whether this processor makes the same bytes as others if every library is limited to AVX2.

    python -m benchmarks.portable              # compares with benchmarks/portable.json
    python -m benchmarks.portable --record     # adds the results of this processor to that file
    python -m benchmarks.portable --free       # the libraries choose, which is their default
    python -m benchmarks.portable --through "qemu-x86_64 -cpu Haswell"   # on an emulated processor

Runs a small experiment in fp32 with one thread, from prepare to search, in a copy of this
repository. For each output it prints the MD5 in dvc.lock and the processors with the same MD5.
plots/train.csv compares trainings bit by bit: the loss and gradient norm of each step.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks import generated, growth
from dpr.base.environment import processor
from dpr.evaluation.markdown_tables import table
from stages.run import parser

RECORDED = Path("benchmarks/portable.json")
PINNED = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
    "CT2_FORCE_CPU_ISA": "AVX2",
    "CT2_USE_MKL": "0",  # the default uses it only on Intel processors
    "FAISS_OPT_LEVEL": "AVX2",
}
RUN = ("prepare", "init", "train", "encode", "index", "search")
USED = {
    "threads": 1,
    "train.precision": "fp32",
    "train.max_steps": 30,
    "train.batch_size": 16,
    "train.eval_every": 30,
    "train.lr": 0.001,
    "train.initial_share": 0.0,
    "encode.precision": "fp32",
    "data.overlap": "drop",
    "second.use": False,
    "audit.min_recall": 0.0,
}


def main() -> None:
    arguments = parser("benchmarks.portable", __doc__)
    arguments.add_argument("--record", action="store_true")
    arguments.add_argument("--free", action="store_true")
    arguments.add_argument("--through", default="", help="a program that starts Python")
    chosen = arguments.parse_args()
    if not chosen.free:
        os.environ.update(PINNED)
    with tempfile.TemporaryDirectory() as name:
        if chosen.through:
            run_python_through(chosen.through, Path(name) / "bin")
        hashes = output_hashes(Path(name))
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    rows = []
    for path, md5 in hashes.items():
        same = [name for name, md5s in recorded.items() if md5s.get(path) == md5]
        rows.append([path, md5[:12], "; ".join(same) or "none"])
    print(table(["output", "MD5", "the same on"], rows))
    if chosen.record:
        recorded[chosen.through or processor()] = hashes
        RECORDED.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")


def run_python_through(program: str, folder: Path) -> None:
    """Let the stages' `python` start this Python through the program."""
    folder.mkdir()
    python = folder / "python"
    modules = os.pathsep.join(path for path in sys.path if "site-packages" in path)
    lines = ["#!/bin/sh", f"export PYTHONPATH={modules}:$PYTHONPATH"]
    lines += [f'exec {program} {Path(sys.executable).resolve()} "$@"', ""]
    python.write_text("\n".join(lines))
    python.chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def output_hashes(folder: Path) -> dict[str, str]:
    """{output: MD5} of the experiment."""
    repository = folder / "repository"
    growth.copy_repository(repository)
    generated.write_collection(folder / "collection", 1_000, topics=10)
    generated.write_triples(folder / "triples.tsv", 2_000)
    code = f"from benchmarks.generated import *; write_encoder(Path({str(folder / 'encoder')!r}))"
    growth.run(repository, sys.executable, "-c", code)  # in a process with these variables
    places = {
        "data.collection": "beir:../collection",  # outputs contain the names
        "data.train": "triples:../triples.tsv",
        "model.name": "../encoder",
    }
    growth.set_params(repository / "params.yaml", places | USED)
    growth.run(repository, "dvc", "repro", "--quiet", "search@zero_shot", "search@dense")
    lock = YAML(typ="safe", pure=True).load(repository / "dvc.lock")
    return {
        out["path"]: out["md5"]
        for name, stage in lock["stages"].items()
        for out in stage.get("outs", [])
        if name.split("@")[0] in RUN
    }


if __name__ == "__main__":
    main()
