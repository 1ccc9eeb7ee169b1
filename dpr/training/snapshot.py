"""What a killed training needs to resume and end with the same bytes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from dpr.base import runtime
from dpr.base.errors import InputError
from dpr.base.interrupts import Held
from dpr.base.processes import ProcessGroup
from dpr.encoders.dual_encoder import DualEncoder
from dpr.training import snapshot_file
from dpr.training.history import History, Step, Validation
from dpr.training.loss import Loss
from dpr.training.weights import (
    RunningMean,
    Tensors,
    optimizer_tensors,
    set_optimizer_tensors,
    set_weights,
    weights,
)


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
            snapshot_file.save(self.path, groups, history._asdict())

    def resume(self) -> tuple[History, Tensors] | None:
        """Restore everything; returns the history and the best weights. None without a snapshot.

        Raises:
            InputError: if another machine has another snapshot than the first process.
        """
        saved = snapshot_file.load(self.path) if self.path else None
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
