"""Snapshots: a killed training resumes from one and ends with the same bytes.

A snapshot is one safetensors file, whole or absent: weights and optimizer state as named tensors,
and JSON numbers. Weights are also copied, restored, mixed and averaged here.
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
from dpr.base.files import unfinished
from dpr.base.interrupts import Pending
from dpr.base.processes import ProcessGroup
from dpr.encoders.dual_encoder import DualEncoder
from dpr.training.log import History, Step, Validation
from dpr.training.loss import Loss

Tensors = dict[str, torch.Tensor]


def weights(module: nn.Module) -> Tensors:
    """A copy of parameters and buffers by name. A shared tensor has only its first name."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}


@torch.no_grad()
def set_weights(module: nn.Module, saved: Tensors, trained: bool = True) -> None:
    """Set parameters and buffers by name; without `trained`, only frozen ones and buffers."""
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if trained or not tensor.requires_grad:
            tensor.copy_(saved[name])


@torch.no_grad()
def mix_weights(module: nn.Module, initial: Tensors, share: float) -> None:
    """Each trained parameter becomes (1 - share) * itself + share * its initial value.

    Frozen parameters keep their bytes: mixing would turn -0.0 into 0.0.
    """
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            parameter.lerp_(initial[name], share)


class EMA:
    """The exponential moving average of a module's trained weights.

    Step n decays by at most (1 + n) / (10 + n), so that the first weights count little, as in
    TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        # In float32: bfloat16 would round off small updates.
        self.weights = {name: tensor.float() for name, tensor in weights(module).items()}

    @torch.no_grad()
    def add(self, module: nn.Module, step: int) -> None:
        """Add the weights after a step, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                self.weights[name].lerp_(parameter.float(), 1 - decay)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """AdamW's moments and steps, as `NUMBER.NAME`, with each parameter's number."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{k}": tensor for i, named in state.items() for k, tensor in named.items()}


def set_optimizer_tensors(optimizer: torch.optim.Optimizer, saved: Tensors) -> None:
    state = {int(number): named for number, named in _nested(saved).items()}
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _nested(tensors: Tensors) -> dict[str, Tensors]:
    """{"GROUP.NAME": tensor} -> {"GROUP": {"NAME": tensor}}."""
    groups: dict[str, Tensors] = {}
    for key, tensor in tensors.items():
        group, _, name = key.partition(".")
        groups.setdefault(group, {})[name] = tensor
    return groups


def save(path: Path, groups: dict[str, Tensors], numbers: dict[str, Any]) -> None:
    """Write groups of tensors and JSON numbers. No group has a dot in its name."""
    tensors = {
        f"{group}.{name}": tensor.contiguous().cpu()
        for group, named in groups.items()
        for name, tensor in named.items()
    }
    text = json.dumps(numbers)
    metadata = {"numbers": text, "sha256": _sha256(tensors, text)}
    with unfinished(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode  # safetensors would let only the owner read
        save_file(tensors, partial, metadata=metadata)
        partial.chmod(mode)


def load(path: Path) -> tuple[dict[str, Tensors], dict[str, Any]] | None:
    """The groups and numbers that `save` wrote, without empty groups; None without a file.

    Raises:
        InputError: for a damaged or unreadable file.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        if metadata["sha256"] != _sha256(tensors, metadata["numbers"]):
            raise ValueError("damaged")
        return _nested(tensors), json.loads(metadata["numbers"])
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


class Autosave(NamedTuple):
    """Where and how often a training saves a snapshot. No result depends on it."""

    path: Path | None = None  # a path for these inputs and this code alone; None: no snapshots
    seconds: float = 60.0  # between two saves
    clock: Callable[[], float] = time.monotonic


@dataclass
class Snapshots:
    """The latest state of a training: weights, optimizer, random generators, history."""

    autosave: Autosave
    encoder: DualEncoder
    loss: Loss
    optimizer: torch.optim.Optimizer
    ema: EMA | None
    processes: ProcessGroup

    def __post_init__(self) -> None:
        self.next_save = self.autosave.clock() + self.autosave.seconds

    def save_if_due(
        self, history: History, best_weights: Tensors, pending: Pending, ended: bool = False
    ) -> None:
        """Every process must call it after each step. The first one's clock and signals decide.

        Args:
            ended: save in any case, since no step follows.
        Raises:
            KeyboardInterrupt: after a last save, if a signal is pending.
        """
        due = ended or bool(pending) or self.autosave.clock() >= self.next_save
        (agreed,) = self.processes.broadcast((float(due),))
        if not agreed:
            return
        self.save(history, best_weights)
        self.next_save = self.autosave.clock() + self.autosave.seconds
        (stop,) = self.processes.broadcast((float(bool(pending)),))
        if stop:
            raise pending[0] if pending else KeyboardInterrupt

    def save(self, history: History, best_weights: Tensors) -> None:
        """Every process must call it. The first one writes."""
        if self.autosave.path is None:
            return
        device, processes = self.encoder.device, self.processes
        groups = {
            "weights": weights(self.encoder),
            "best": best_weights,
            "loss": weights(self.loss),
            "ema": self.ema.weights if self.ema else {},
            "optimizer": optimizer_tensors(self.optimizer),
            "random": {  # of every process, since each draws its own dropout
                kind: processes.gather(state[None].to(device), processes.size)
                for kind, state in runtime.random_state(device).items()
            },
        }
        if processes.is_first:
            save(self.autosave.path, groups, history._asdict())

    def resume(self) -> tuple[History, Tensors] | None:
        """Restore everything, and return history and best weights. None without a snapshot.

        Raises:
            InputError: if a machine's snapshot differs from the first process's.
        """
        path, device = self.autosave.path, self.encoder.device
        groups, numbers = (load(path) if path else None) or ({}, {"steps": []})
        steps = len(numbers["steps"])
        (first_has,) = self.processes.broadcast((float(steps),))
        if steps != first_has:
            raise InputError(
                f"{path}: the first process resumes after step {first_has:.0f}, this machine "
                f"has {steps}: share .scratch between the machines, or remove it on all"
            )
        if not groups:
            return None
        set_weights(self.encoder, groups["weights"])
        set_weights(self.loss, groups["loss"])
        if self.ema:
            self.ema.weights = {k: v.to(device) for k, v in groups["ema"].items()}
        set_optimizer_tensors(self.optimizer, groups.get("optimizer", {}))
        state = {kind: states[self.processes.rank] for kind, states in groups["random"].items()}
        runtime.set_random_state(state, device)
        history = History(
            [Step(*values) for values in numbers["steps"]],
            [Validation(*values) for values in numbers["validations"]],
        )
        return history, groups["best"]
