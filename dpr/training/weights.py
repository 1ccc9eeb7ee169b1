"""Weights and optimizer state as named tensors: copied, restored, averaged."""

import torch
from torch import nn

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
