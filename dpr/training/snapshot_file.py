"""A snapshot on disk: named tensors and JSON numbers in one safetensors file, whole or absent."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

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
    save_file(tensors, partial, metadata={"numbers": json.dumps(numbers)})
    partial.replace(path)


def load(path: Path) -> Snapshot | None:
    """The snapshot that `save` wrote; None if there is none that can be read."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Snapshot(tensors, json.loads(file.metadata()["numbers"]))
    except (OSError, SafetensorError):
        return None
