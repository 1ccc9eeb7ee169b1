"""Not all GPUs have float64 (those of Macs): neither training nor encoding makes a tensor of it."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class NoFloat64(TorchDispatchMode):
    """Fails on an operation whose result is float64, also if it is a single number."""

    def __torch_dispatch__(self, operation, types, arguments=(), others=None):
        made = operation(*arguments, **(others or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                assert tensor.dtype != torch.float64, f"{operation} makes float64"
        return made


@pytest.mark.parametrize("changes", [{}, {"temperature_lr": 0.1}, {"chunk_size": 2}])
def test_training(make_trainer, changes):
    trainer = make_trainer(max_steps=2, **changes)
    with NoFloat64():
        trainer.run()


def test_encoding(make_encoder):
    encoder = make_encoder()
    tokens = encoder.tokenize(["about the heart"], "passage")
    with NoFloat64():
        encoder.embed(tokens, "passage", 512)


def test_the_watch_sees_float64():
    with NoFloat64(), pytest.raises(AssertionError, match="makes float64"):
        torch.tensor(1.0).double()
