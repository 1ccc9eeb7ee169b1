"""Which engine, number format, attention and batch size a device gets: decided here.

`precision` in params.yaml is a wish (auto | fp32 | bf16 | fp16 | int8); a `Format` is what is used.
docs/speed.md has the measurements behind the choices. Engines that compute a format:

| device | format | engine |
|---|---|---|
| CPU | int8, fp32 | CTranslate2, if it knows the model |
| CPU | bf16; fp32 of other models | torch |
| GPU | bf16, fp16, fp32 | torch |
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, Protocol

import numpy as np
import torch

from dpr.base.errors import InputError
from dpr.encoders.spec import Role
from dpr.encoders.tokens import Tokens

Format = Literal["fp32", "bf16", "fp16", "int8"]
EngineName = Literal["torch", "ctranslate2"]
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}

# Tokens in a batch by engine. On a CPU small activations stay in the cache; with CTranslate2 each
# thread has a batch of its own.
CPU_BATCH_TOKENS: dict[EngineName, int] = {"torch": 2048, "ctranslate2": 512}
GPU_BATCH_TOKENS = 65_536


class Computes(Protocol):
    """A `DualEncoder` or a `ConvertedEncoder`."""

    @property
    def dimension(self) -> int: ...

    def embed(
        self,
        tokens: list[Tokens],
        role: Role,
        batch_tokens: int,
        *,
        progress: Callable[[int], object] = ...,
    ) -> np.ndarray:
        """Tokenized texts -> (N, D) float32 vectors, in the given order."""


class Unconvertible(Exception):
    """A model that CTranslate2 does not know, or does not compute as torch does."""


def fast_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster than fp32 here: matrix units on CUDA, AMX or AVX512-BF16 on x86."""
    if device.type != "cpu":
        return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_tile") or capabilities.get("avx512_bf16"))


def training_format(precision: str, device: torch.device) -> Format:
    """`auto` is bf16 if the device is fast at it, else fp32."""
    if precision == "bf16" or (precision == "auto" and fast_bf16(device)):
        return "bf16"
    return "fp32"


def auto(device: torch.device) -> list[Format]:
    """The formats of `encode.precision: auto`, the fastest first; fp32, the last, is always exact.

    int8 on a CPU, unless it has matrix units for bf16 (AMX): as fast, and more exact.
    """
    if device.type != "cpu":
        return ["bf16" if fast_bf16(device) else "fp16", "fp32"]
    if torch.cpu.get_capabilities().get("amx_tile"):
        return ["bf16", "fp32"]
    return ["int8", "bf16", "fp32"] if fast_bf16(device) else ["int8", "fp32"]


def encoding_engines(precision: str, device: torch.device) -> list[tuple[EngineName, Format]]:
    """Engines and formats in the order in which they are tried: CTranslate2 may not know the model.

    Raises:
        InputError: for a format that the device does not have.
    """
    if precision == "auto":
        return [engine for format in auto(device) for engine in encoding_engines(format, device)]
    if device.type != "cpu":
        if precision == "int8":
            raise InputError("params.yaml: encode.precision: int8 is for CPUs; set auto or bf16")
        return [("torch", precision)]  # type: ignore[list-item]
    if precision == "fp16":
        raise InputError("params.yaml: encode.precision: fp16 needs a GPU; set auto, int8 or fp32")
    return {
        "fp32": [("ctranslate2", "fp32"), ("torch", "fp32")],
        "bf16": [("torch", "bf16")],
        "int8": [("ctranslate2", "int8")],
    }[precision]  # type: ignore[return-value]


def batch_tokens(wanted: int | None, engine: EngineName, device: torch.device) -> int:
    """Tokens in a batch, padding included: `wanted`, or with None what is fastest."""
    if wanted is not None:
        return wanted
    return CPU_BATCH_TOKENS[engine] if device.type == "cpu" else GPU_BATCH_TOKENS


def training_attention(device: torch.device) -> str | None:
    """The attention of a training step; None leaves the model's own, "sdpa" if it has that.

    On a CPU the backward pass of sdpa is slow: in bf16 a step takes 1.2 times as long.
    """
    return "eager" if device.type == "cpu" else None


def autocast(format: str, device: torch.device) -> AbstractContextManager:
    """Matrix products in that format, of weights that stay fp32."""
    half = HALF.get(format)
    return torch.autocast(device.type, dtype=half or torch.bfloat16, enabled=half is not None)
