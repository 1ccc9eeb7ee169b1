"""A snapshot on disk: named tensors and JSON numbers in one safetensors file, whole or absent."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dpr.base.errors import InputError
from dpr.training.weights import Tensors


class Snapshot(NamedTuple):
    tensors: Tensors
    numbers: dict[str, Any]

    def group(self, name: str) -> Tensors:
        """The tensors that `save` was given under this name."""
        start = f"{name}."
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


def save(path: Path, groups: dict[str, Tensors], numbers: dict[str, Any]) -> None:
    tensors = {
        f"{group}.{name}": tensor.contiguous().cpu()
        for group, named in groups.items()
        for name, tensor in named.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.touch()
    mode = partial.stat().st_mode  # safetensors lets nobody else read
    text = json.dumps(numbers)
    save_file(tensors, partial, metadata={"numbers": text, "sha256": _sha256(tensors, text)})
    partial.chmod(mode)
    partial.replace(path)


def load(path: Path) -> Snapshot | None:
    """The snapshot that `save` wrote; None if there is none.

    Raises:
        InputError: for a file that is damaged or cannot be read.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            kept = file.metadata()
        if kept["sha256"] != _sha256(tensors, kept["numbers"]):
            raise ValueError("damaged")
        return Snapshot(tensors, json.loads(kept["numbers"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); remove its folder to train from the beginning"
        ) from None


def _sha256(tensors: Tensors, numbers: str) -> str:
    digest = hashlib.sha256(numbers.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
