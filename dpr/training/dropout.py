"""Dropout by one rate, in whichever form a transformer keeps its own; and that nothing else draws.

transformers keeps a rate as a module, as a float attribute of the layer (`dropout`, `dropout_rate`,
`attention_dropout`, `attn_pdrop`, ...), or only in the config that the layer asks (Falcon).
"""

import torch
from torch import nn

from dpr.base.errors import InputError
from dpr.encoders.dual_encoder import TextEncoder

LAYERS = ("layer", "path")  # in the name of a rate at which whole layers are left out
TOKENS = 24  # of the text that is tried: enough for a small rate to show


def set_dropout(encoder: TextEncoder, rate: float) -> None:
    """Set every rate of dropout; no whole layer is left out any more.

    Raises:
        InputError: if two forward passes still differ without dropout, since the model keeps a
            rate where this code does not find it.
    """
    _set(encoder, 0.0)
    if _draws(encoder):
        name = type(encoder.backbone).__name__
        raise InputError(
            f"params.yaml: train.dropout: {name} draws at random however its dropout is set; set "
            "null to leave it as it is, or write rates of 0 into the config.json of the model"
        )
    _set(encoder, rate)


def _set(module: nn.Module, rate: float) -> None:
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.p = rate
        for name, value in vars(part).items():
            rated = isinstance(value, int | float) and not isinstance(value, bool)
            if "drop" in name and rated and 0 <= value < 1:
                setattr(part, name, 0.0 if any(kind in name for kind in LAYERS) else rate)


@torch.no_grad()
def _draws(encoder: TextEncoder) -> bool:
    """Whether two forward passes of one text differ in training."""
    words = encoder.backbone.get_input_embeddings()
    ids = torch.arange(TOKENS, device=words.weight.device)[None] % words.num_embeddings
    training = encoder.training
    encoder.train()
    one, two = (encoder(ids, torch.ones_like(ids)) for _ in range(2))
    encoder.train(training)
    return not torch.allclose(one, two, rtol=0.0, atol=0.0, equal_nan=True)
