"""Which parameters a training changes: of one role or both, with or without LoRA; and dropout.

transformers keeps a dropout rate in one of three places: a module, a float attribute of the layer
(`dropout`, `attention_dropout`, `attn_pdrop`, ...), or the config that the layer reads (Falcon).
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from dpr.base.errors import InputError
from dpr.encoders import formats
from dpr.encoders.dual_encoder import DualEncoder, TextEncoder
from dpr.settings import TrainSettings
from dpr.training.snapshot import Tensors, set_weights

LAYERS = ("layer", "path")  # parts of names of rates that skip whole layers
TOKENS = 24  # of a trial text: enough for a small rate to show


def for_roles(encoder: DualEncoder, roles: str) -> DualEncoder:
    """The encoder. For `roles: query`, its query encoder is a copy, which alone is trained."""
    if roles == "both":
        return encoder
    query = copy.deepcopy(encoder.query)
    return DualEncoder(query, encoder.passage, replace(encoder.spec, tied=False))


def prepare(encoder: DualEncoder, settings: TrainSettings) -> None:
    """Set attention and dropout, freeze untrained parameters, add LoRA's matrices.

    Every linear layer of the transformer has them (Dettmers et al. 2023,
    https://arxiv.org/abs/2305.14314). The modules after it are trained as they are.
    """
    if settings.roles == "query":
        encoder.passage.requires_grad_(False)
    for one in _trained(encoder, settings):
        if settings.dropout is not None:
            set_dropout(one, settings.dropout)
        if one.transformer is None:
            settings.require_transformer()
            continue
        model: Any = one.transformer.model
        if settings.lora_rank and hasattr(model, "merge_and_unload"):
            continue  # both roles share it
        if attention := formats.training_attention(encoder.device):
            model.set_attn_implementation(attention)
        if not one.uses_pooler and getattr(model, "pooler", None) is not None:
            model.pooler.requires_grad_(False)  # no vector depends on it
        if settings.freeze_embeddings:
            model.get_input_embeddings().requires_grad_(False)
        if settings.gradient_checkpointing:
            if not model.supports_gradient_checkpointing:
                raise InputError(
                    "params.yaml: train.gradient_checkpointing: "
                    f"{type(model).__name__} has none; set it to false"
                )
            model.activation_checkpointing_enable({"use_reentrant": False})
        if settings.lora_rank:
            import peft  # here, since it loads slowly

            config = peft.LoraConfig(
                r=settings.lora_rank,
                lora_alpha=settings.lora_alpha,  # type: ignore[arg-type]  # any number will do
                lora_dropout=settings.dropout or 0.0,
                target_modules="all-linear",
                exclude_modules=r"pooler\b.*" if hasattr(model, "pooler") else None,
            )
            one.transformer.model = model = peft.get_peft_model(model, config)
        if settings.freeze_layers:
            freeze_lowest(model, settings.freeze_layers)


def freeze_lowest(model: Any, share: float) -> None:
    """Freeze this share of the layers, the lowest, and everything below them, such as embeddings.

    The backward pass ends above them. Models register their parameters from the text to the vector.

    Raises:
        InputError: if the model has no list of layers.
    """
    number = getattr(model.config, "num_hidden_layers", None)
    lists = (part for part in model.modules() if isinstance(part, nn.ModuleList))
    layers = next((part for part in lists if len(part) == number), None)
    if layers is None:
        raise InputError(
            f"params.yaml: train.freeze_layers: {share}, but {type(model).__name__} has no list of "
            "layers, since all share their weights; set it to 0"
        )
    if frozen := int(share * len(layers)):
        last = list(layers[frozen - 1].parameters())[-1]
        for parameter in model.parameters():
            parameter.requires_grad_(False)
            if parameter is last:
                break


def _trained(encoder: DualEncoder, settings: TrainSettings) -> list[TextEncoder]:
    passage = [encoder.passage] if settings.roles == "both" else []
    return passage + ([encoder.query] if encoder.query is not encoder.passage else [])


def set_dropout(encoder: TextEncoder, rate: float) -> None:
    """Set every dropout rate. No whole layer is skipped any more.

    Raises:
        InputError: if two forward passes still differ at rate 0, so that a rate was not found.
    """
    _set_rates(encoder, 0.0)
    if _is_random(encoder):
        name = type(encoder.transformer.model).__name__ if encoder.transformer else "the encoder"
        raise InputError(
            f"params.yaml: train.dropout: {name} stays random although its dropout is set to 0; "
            "set null to leave it as it is, or write rates of 0 into the model's config.json"
        )
    _set_rates(encoder, rate)


def _set_rates(module: nn.Module, rate: float) -> None:
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.p = rate
        for name, value in vars(part).items():
            rated = isinstance(value, int | float) and not isinstance(value, bool)
            if "drop" in name and rated and 0 <= value < 1:
                setattr(part, name, 0.0 if any(kind in name for kind in LAYERS) else rate)


@torch.no_grad()
def _is_random(encoder: TextEncoder) -> bool:
    """Whether two forward passes of a text differ in training mode."""
    device = next(encoder.parameters()).device
    vocabulary = encoder.first.tokenizer
    count = getattr(vocabulary, "vocab_size", None) or vocabulary.get_vocab_size()
    arrays = encoder.features([np.arange(TOKENS) % count])
    training = encoder.training
    encoder.train()
    one, two = (
        encoder({name: torch.from_numpy(array).to(device) for name, array in arrays.items()})
        for _ in range(2)
    )
    encoder.train(training)
    return not torch.allclose(one, two, rtol=0.0, atol=0.0, equal_nan=True)


@contextmanager
def merged(encoder: DualEncoder, frozen: Tensors) -> Iterator[None]:
    """Inside, the encoder has the weights that `merge` would give it, rounded to their dtype.

    Args:
        frozen: the encoder's weights, to restore the frozen ones: unmerging rounds once more.
    """
    wrapped = [module.model for module in _with_lora(encoder)]
    for model in wrapped:
        model.merge_adapter()
    yield
    for model in wrapped:
        model.unmerge_adapter()
    if wrapped:
        set_weights(encoder, frozen, trained=False)


def merge(encoder: DualEncoder) -> None:
    """Add LoRA's matrices to the weights: the result is a plain encoder."""
    for module in _with_lora(encoder):
        module.model = module.model.merge_and_unload()
    encoder.requires_grad_(True)


def _with_lora(encoder: DualEncoder) -> list[Any]:
    """The Transformer modules with peft's wrapper, each once."""
    modules = {encoder.query.transformer, encoder.passage.transformer} - {None}
    return [module for module in modules if hasattr(module.model, "merge_and_unload")]


def groups(module: nn.Module, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for the optimizer. Biases and LayerNorm weights (1-D) are not decayed."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "lr": lr, "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "lr": lr, "weight_decay": 0.0},
    ]


def count(encoder: nn.Module) -> dict[str, int]:
    """Numbers of all parameters and of the trained ones."""
    parameters = list(encoder.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    return {"all": sum(p.numel() for p in parameters), "trained": trained}
