"""Chooses engine, number format, attention and batch size for each device.

`precision` in params.yaml is a wish (auto | fp32 | bf16 | fp16 | int8); a `Format` is the one in
use. docs/speed.md has the measurements behind these choices.

| device | format | engine |
|---|---|---|
| CPU | int8, fp32 | CTranslate2, if it supports the model |
| CPU | bf16; fp32 of all other models | torch |
| GPU | bf16, fp16, fp32 | torch |
"""

from contextlib import AbstractContextManager
from typing import Literal

import torch

from dpr.base.errors import InputError

Format = Literal["fp32", "bf16", "fp16", "int8"]
EngineName = Literal["torch", "ctranslate2"]
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Unconvertible(Exception):
    """CTranslate2 does not support the model, or computes different vectors than torch."""


def fast_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster than fp32: matrix units on CUDA, AMX or AVX512-BF16 on x86."""
    if device.type != "cpu":
        return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_tile") or capabilities.get("avx512_bf16"))


def training_format(precision: str, device: torch.device) -> Format:
    """`auto` is bf16 if it is fast on the device, else fp32."""
    if precision == "bf16" or (precision == "auto" and fast_bf16(device)):
        return "bf16"
    return "fp32"


def auto(device: torch.device) -> list[Format]:
    """The formats of `encode.precision: auto`, fastest first; fp32 comes last.

    A CPU takes int8, unless it has matrix units for bf16 (AMX): as fast, and more exact.
    """
    if device.type != "cpu":
        return ["bf16" if fast_bf16(device) else "fp16", "fp32"]
    if torch.cpu.get_capabilities().get("amx_tile"):
        return ["bf16", "fp32"]
    return ["int8", "bf16", "fp32"] if fast_bf16(device) else ["int8", "fp32"]


def encoding_engines(precision: str, device: torch.device) -> list[tuple[EngineName, Format]]:
    """Engines and formats in the order to try them: CTranslate2 supports only some models.

    Raises:
        InputError: for a format that the device lacks.
    """
    if precision == "auto":
        return [engine for each in auto(device) for engine in encoding_engines(each, device)]
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


def batch_tokens(engine: EngineName, device: torch.device) -> int:
    """The fastest batch size in tokens, padding included.

    On a CPU, small activations stay in the cache; CTranslate2 runs one batch per thread.
    """
    if device.type != "cpu":
        return 65_536
    return 2048 if engine == "torch" else 512


def training_attention(device: torch.device) -> str | None:
    """The attention of a training step; None leaves the model's own, "sdpa" if it has that.

    On a CPU the backward pass of sdpa is slow: a bf16 step takes 1.2 times as long.
    """
    return "eager" if device.type == "cpu" else None


def autocast(number_format: str, device: torch.device) -> AbstractContextManager:
    """Matrix products in that format; the weights stay fp32."""
    half = HALF.get(number_format)
    return torch.autocast(device.type, dtype=half or torch.bfloat16, enabled=half is not None)
