"""Not all GPUs have float64 (those of Macs): neither training nor encoding makes a tensor of it."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class NoFloat64(TorchDispatchMode):
    """Fails on an operation whose result is float64, also if it is a single number."""

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                assert tensor.dtype != torch.float64, f"{operation} makes float64"
        return result


@pytest.mark.parametrize("changes", [{}, {"temperature_lr": 0.1, "chunk_size": 2}])
def test_training_and_encoding_make_no_float64(make_trainer, changes):
    trainer = make_trainer(max_steps=2, **changes)
    tokens = trainer.encoder.tokenize(["about the heart"], "passage")
    with NoFloat64():
        trainer.run()
        trainer.encoder.embed(tokens, "passage", 512)
        with pytest.raises(AssertionError, match="makes float64"):
            torch.tensor(1.0).double()
