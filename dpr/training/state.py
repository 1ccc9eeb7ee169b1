"""A training's state on disk, from which a killed one goes on and ends with the same bytes."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

Tensors = dict[str, torch.Tensor]


class State(NamedTuple):
    """`numbers` are JSON: steps and validations so far."""

    tensors: Tensors
    numbers: dict[str, Any]

    def part(self, prefix: str) -> Tensors:
        """The tensors whose names start with `prefix.`, without it."""
        start = f"{prefix}."
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


def save(path: Path, parts: dict[str, Tensors], numbers: dict[str, Any]) -> None:
    """One file, which takes its name only when it is whole."""
    tensors = {
        f"{part}.{name}": tensor.contiguous().cpu()
        for part, named in parts.items()
        for name, tensor in named.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata={"numbers": json.dumps(numbers)})
    partial.replace(path)


def load(path: Path) -> State | None:
    """The state that `save` left there; None where there is none that can be read."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return State(tensors, json.loads(file.metadata()["numbers"]))
    except (OSError, SafetensorError):
        return None


def weights(module: nn.Module) -> Tensors:
    """A copy of parameters and buffers by name, those that two names share once."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}


@torch.no_grad()
def set_weights(module: nn.Module, saved: Tensors) -> None:
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        tensor.copy_(saved[name])


@torch.no_grad()
def mix_weights(module: nn.Module, others: Tensors, share: float) -> None:
    """Replace each parameter by a mean of it and the other of its name, which has that share."""
    for name, parameter in module.named_parameters():
        parameter.lerp_(others[name], share)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """AdamW's moments and steps, as `NUMBER.NAME` by the number of the parameter."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{k}": tensor for i, named in state.items() for k, tensor in named.items()}


def set_optimizer_tensors(optimizer: torch.optim.Optimizer, saved: Tensors) -> None:
    state: dict[int, Tensors] = {}
    for name, tensor in saved.items():
        number, key = name.split(".")
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
