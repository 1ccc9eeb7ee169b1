"""The modules after a transformer, read from a saved encoder and computed by torch alone.

CTranslate2 runs the transformer and returns token states. sentence-transformers could run the rest,
but loading that library takes longer than encoding a set of queries. `converted.py` compares the
vectors with those of its modules.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn import functional

from dpr.base.files import read_json
from dpr.encoders.formats import Unconvertible
from dpr.encoders.spec import TRANSFORMER_FILE

Layer = Callable[[torch.Tensor], torch.Tensor]


class Head:
    """(B, T, D) token states -> (B, D') vectors; with a pooler, (B, D) pooled states.

    Args:
        folders: of all modules of a role, that of the transformer first.
        prompt_length: tokens that a pooling with `include_prompt: false` leaves out.
        normalized: whether the vectors will be normalized afterwards: no Normalize module is last.
    Raises:
        Unconvertible: for a module of a different kind.
    """

    def __init__(self, folders: list[Path], prompt_length: int, normalized: bool):
        transformer, *folders = folders
        about = read_json(transformer / TRANSFORMER_FILE)
        self.reads_pooler = about["module_output_name"] == "sentence_embedding"
        self.dimension: int = read_json(transformer / "config.json").get("hidden_size", 0)
        self.modes: list[str] = []
        self.skipped = 0
        self.layers: list[Layer] = []
        for folder in folders:
            about = read_json(folder / "config.json")
            if "pooling_mode" in about and not self.modes:
                modes = about["pooling_mode"]
                self.modes = [modes] if isinstance(modes, str) else modes
                self.skipped = prompt_length
                self.dimension = about["embedding_dimension"] * len(self.modes)
            elif about.get("module_input_name", "sentence_embedding") != "sentence_embedding":
                raise Unconvertible("a module changes the states of tokens")
            elif about.get("use_residual"):
                raise Unconvertible("a Dense module with a residual connection")
            elif "activation_function" in about:
                self.layers.append(_dense(folder, about["activation_function"]))
                self.dimension = about["out_features"]
            elif about.keys() == {"dimension"}:
                self.layers.append(_layer_norm(folder))
            elif about.keys() == {"module_input_name", "module_output_name"}:
                self.layers.append(functional.normalize)
            else:
                raise Unconvertible(f"it does not run the module {folder.name}")

        while normalized and self.layers and self.layers[-1] is functional.normalize:
            self.layers.pop()

    def __call__(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if not self.reads_pooler:
            if self.skipped:
                mask = mask.clone()
                mask[:, : self.skipped] = 0
            states = torch.cat([pool(states, mask, mode) for mode in self.modes], dim=-1)
        for layer in self.layers:
            states = layer(states)
        return states


def pool(states: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    """Pool the states of tokens, as the module Pooling of sentence-transformers does.

    Args:
        states: (B, T, D) last hidden states, float32.
        mask: (B, T), 1 for a token; 0 for padding, on the right, and for the prompt, on the left.
    Returns: (B, D).
    """
    inside = mask.unsqueeze(-1).float()
    rows = torch.arange(len(states), device=states.device)
    positions = torch.arange(1, mask.shape[1] + 1, device=states.device)
    if mode == "cls":
        return states[rows, mask.argmax(1)]
    if mode == "lasttoken":
        return states[rows, (mask * positions).argmax(1)]
    if mode == "max":
        return states.masked_fill(inside == 0, -torch.inf).amax(1)
    if mode == "weightedmean":
        inside = inside * positions[:, None]
    total = inside.sum(1).clamp(min=1e-9)
    return (states * inside).sum(1) / (total.sqrt() if mode == "mean_sqrt_len_tokens" else total)


def _dense(folder: Path, activation: str) -> Layer:
    weights = load_file(folder / "model.safetensors")
    module, _, name = activation.rpartition(".")
    if not module.startswith("torch.nn."):
        raise Unconvertible(f"the activation {activation}")
    function = getattr(torch.nn, name)()
    weight, bias = weights["linear.weight"].float(), weights.get("linear.bias")
    bias = None if bias is None else bias.float()
    return lambda pooled: function(functional.linear(pooled, weight, bias))


def _layer_norm(folder: Path) -> Layer:
    weights = load_file(folder / "model.safetensors")
    weight, bias = weights["norm.weight"].float(), weights["norm.bias"].float()
    return lambda pooled: functional.layer_norm(pooled, weight.shape, weight, bias)
