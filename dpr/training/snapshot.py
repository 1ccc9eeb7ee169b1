"""Weights and optimizer state as named tensors: copied, restored, averaged.

A snapshot on disk: named tensors and JSON numbers in one safetensors file, whole or absent.

What a killed training needs to resume and end with the same bytes.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from dpr.base import runtime
from dpr.base.errors import InputError
from dpr.base.interrupts import Held
from dpr.base.processes import ProcessGroup
from dpr.encoders.dual_encoder import DualEncoder
from dpr.training.log import History, Step, Validation
from dpr.training.loss import Loss

Tensors = dict[str, torch.Tensor]


def weights(module: nn.Module) -> Tensors:
    """A copy of parameters and buffers by name; a tensor with two names comes once."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}


@torch.no_grad()
def set_weights(module: nn.Module, saved: Tensors, trained: bool = True) -> None:
    """Set parameters and buffers by name; without `trained`, only those that no step changes."""
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if trained or not tensor.requires_grad:
            tensor.copy_(saved[name])


@torch.no_grad()
def mix_weights(module: nn.Module, others: Tensors, share: float) -> None:
    """Each trained parameter becomes (1 - share) * itself + share * the other of its name.

    The others are the same in both; mixed, their -0.0 would become 0.0.
    """
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            parameter.lerp_(others[name], share)


class RunningMean:
    """The exponential moving mean of a module's trained weights.

    The decay of step n is at most (1 + n) / (10 + n), so that the first steps, far from the end,
    count little (as TensorFlow's ExponentialMovingAverage does).
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        # In float32, since bfloat16 would round small updates of the mean off.
        self.weights = {name: tensor.float() for name, tensor in weights(module).items()}

    @torch.no_grad()
    def add(self, module: nn.Module, step: int) -> None:
        """Count in the weights after a step, numbered from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                self.weights[name].lerp_(parameter.float(), 1 - decay)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """AdamW's moments and steps, as `NUMBER.NAME` with the number of the parameter."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{k}": tensor for i, named in state.items() for k, tensor in named.items()}


def set_optimizer_tensors(optimizer: torch.optim.Optimizer, saved: Tensors) -> None:
    state: dict[int, Tensors] = {}
    for name, tensor in saved.items():
        number, key = name.split(".")
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


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


@dataclass
class Snapshots:
    """The latest state of a training, in `path`: weights, optimizer, random generators, history.

    The file name must be a key of all that decides the training. `path` None: no snapshots.
    """

    path: Path | None
    encoder: DualEncoder
    loss: Loss
    optimizer: torch.optim.Optimizer
    processes: ProcessGroup
    every: float  # seconds between two saves
    mean: RunningMean | None = None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.next_save = self.clock() + self.every

    def save_if_due(
        self, history: History, best_weights: Tensors, held: Held, ended: bool = False
    ) -> None:
        """Every process must call it after each step; clock and signals of the first one decide.

        Args:
            ended: it is due, since no step follows.
        Raises:
            KeyboardInterrupt: after a last save, if it was held back.
        """
        due = ended or held.asked is not None or self.clock() >= self.next_save
        (agreed,) = self.processes.broadcast((float(due),))
        if not agreed:
            return
        self.save(history, best_weights)
        self.next_save = self.clock() + self.every
        (stop,) = self.processes.broadcast((float(held.asked is not None),))
        if stop:
            raise held.asked or KeyboardInterrupt

    def save(self, history: History, best_weights: Tensors) -> None:
        """Every process must call it; the first one writes."""
        if self.path is None:
            return
        device, processes = self.encoder.device, self.processes
        groups = {
            "weights": weights(self.encoder),
            "best": best_weights,
            "loss": weights(self.loss),
            "mean": self.mean.weights if self.mean else {},
            "optimizer": optimizer_tensors(self.optimizer),
            "random": {  # of every process, since each draws its own dropout
                kind: processes.gather(own[None].to(device), processes.size)
                for kind, own in runtime.random_state(device).items()
            },
        }
        if processes.is_first:
            save(self.path, groups, history._asdict())

    def resume(self) -> tuple[History, Tensors] | None:
        """Restore everything; returns the history and the best weights. None without a snapshot.

        Raises:
            InputError: if another machine has another snapshot than the first process.
        """
        saved = load(self.path) if self.path else None
        steps = len(saved.numbers["steps"]) if saved else 0
        (first_has,) = self.processes.broadcast((float(steps),))
        if steps != first_has:
            raise InputError(
                f"{self.path}: the first process resumes after step {first_has:.0f}, this machine "
                f"has {steps}: share .scratch between the machines, or remove it on all"
            )
        if saved is None:
            return None
        set_weights(self.encoder, saved.group("weights"))
        set_weights(self.loss, saved.group("loss"))
        if self.mean:
            device = self.encoder.device
            self.mean.weights = {k: v.to(device) for k, v in saved.group("mean").items()}
        set_optimizer_tensors(self.optimizer, saved.group("optimizer"))
        own = {kind: states[self.processes.rank] for kind, states in saved.group("random").items()}
        runtime.set_random_state(own, self.encoder.device)
        history = History(
            [Step(*values) for values in saved.numbers["steps"]],
            [Validation(*values) for values in saved.numbers["validations"]],
        )
        return history, saved.group("best")
