"""Where unfinished work waits: under a name made of everything that decides its result.

DVC empties a stage's outputs before each try, so a killed stage keeps its work elsewhere; the next
try of the same inputs finds it, and any other never does.
"""

import hashlib
import json
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from dpr import runtime
from dpr.files import sha256


def fingerprint(paths: Iterable[Path]) -> str:
    """One hash over the names and bytes of files, folders with all that is in them."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(f"{file.name} {sha256(file)}\n".encode())
    return digest.hexdigest()


def key(inputs: dict[str, Any], device: torch.device) -> str:
    """A name for work on these inputs: 16 hexadecimal digits.

    It stands for the code of this package, the versions of its engine, the threads and the kind of
    processor as well: all that decides a result down to its last bit on one machine.
    """
    code = sorted(
        Path(module.__file__)
        for name, module in list(sys.modules.items())
        if name.startswith("dpr.") and name != "dpr.settings"
    )
    inputs = inputs | {
        "code": fingerprint(code),
        "bf16": runtime.fast_bf16(device),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "versions": [version(package) for package in ("torch", "transformers", "peft")],
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
