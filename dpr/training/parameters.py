"""Which parameters a training changes: all, all but the embeddings, or a low-rank addition."""

from collections.abc import Iterator

import peft
from torch import nn

from dpr.encoder import DualEncoder, TextEncoder
from dpr.settings import TrainSettings


def prepare(encoder: DualEncoder, settings: TrainSettings) -> None:
    """Set dropout, freeze what stays as it is, and add LoRA's matrices where they are asked for.

    These go beside every linear layer (Dettmers et al. 2023, https://arxiv.org/abs/2305.14314).
    """
    if settings.dropout is not None:
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = settings.dropout
            if isinstance(getattr(module, "attention_dropout", None), float):
                module.attention_dropout = settings.dropout  # where attention is one function
    for part in _parts(encoder):
        if part.pooling != "pooler" and getattr(part.backbone, "pooler", None) is not None:
            part.backbone.pooler.requires_grad_(False)  # no vector depends on it
        if settings.freeze_embeddings:
            part.backbone.get_input_embeddings().requires_grad_(False)
        if settings.lora_rank:
            config = peft.LoraConfig(
                r=settings.lora_rank,
                lora_alpha=settings.lora_alpha,
                lora_dropout=settings.dropout or 0.0,
                target_modules="all-linear",
                exclude_modules=r"pooler\b.*",
            )
            part.backbone = peft.get_peft_model(part.backbone, config)


def merge(encoder: DualEncoder) -> None:
    """Add LoRA's matrices to the weights, so that the encoder is a plain one again."""
    for part in _parts(encoder):
        if isinstance(part.backbone, peft.PeftModel):
            part.backbone = part.backbone.merge_and_unload()
    encoder.requires_grad_(True)


def groups(module: nn.Module, lr: float, weight_decay: float) -> list[dict]:
    """For the optimizer: biases and LayerNorm weights, of one dimension, are not decayed."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "lr": lr, "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "lr": lr, "weight_decay": 0.0},
    ]


def count(encoder: nn.Module) -> dict[str, int]:
    """Parameters in all, and those that the training changes."""
    parameters = list(encoder.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    return {"all": sum(p.numel() for p in parameters), "trained": trained}


def _parts(encoder: DualEncoder) -> Iterator[TextEncoder]:
    yield encoder.passage
    if encoder.query is not encoder.passage:
        yield encoder.query
