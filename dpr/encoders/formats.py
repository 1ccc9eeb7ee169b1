"""Which number format, attention and batch size a device gets: all three are decided here.

`precision` in params.yaml is a wish (auto | fp32 | bf16 | fp16 | int8); a `Format` is what is used.
docs/speed.md has the measurements behind the choices.
"""

from contextlib import AbstractContextManager
from typing import Literal

import torch

from dpr.base.errors import InputError

Format = Literal["fp32", "bf16", "fp16", "int8"]
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}

# Tokens in a batch by engine. On a CPU small activations stay in the cache; with CTranslate2 each
# thread has a batch of its own.
CPU_BATCH_TOKENS = {"torch": 2048, "ctranslate2": 512}
GPU_BATCH_TOKENS = 65_536


def fast_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster than fp32 here: matrix units on CUDA, AMX or AVX512-BF16 on x86."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_tile") or capabilities.get("avx512_bf16"))


def training_format(precision: str, device: torch.device) -> Format:
    """`auto` is bf16 if the device is fast at it, else fp32."""
    if precision == "bf16" or (precision == "auto" and fast_bf16(device)):
        return "bf16"
    return "fp32"


def encoding_formats(precision: str, device: torch.device) -> list[Format]:
    """The formats to try in this order; the first that the model can be run in is used.

    `auto` is int8 on a CPU, unless it has matrix units for bf16 (AMX): as fast, and more exact.

    Raises:
        InputError: for a format that the device does not have.
    """
    if device.type == "cuda":
        if precision == "int8":
            raise InputError("params.yaml: encode.precision: int8 is for CPUs; set auto or bf16")
        if precision == "auto":
            return ["bf16" if fast_bf16(device) else "fp16"]
    elif precision == "fp16":
        raise InputError("params.yaml: encode.precision: fp16 needs a GPU; set auto, int8 or fp32")
    elif precision == "auto":
        bf16 = training_format("auto", device)
        has_amx = torch.cpu.get_capabilities().get("amx_tile")
        return [bf16] if has_amx else ["int8", bf16]
    return [precision]  # type: ignore[list-item]  # the settings allow no other


def batch_tokens(wanted: int | None, engine: str, device: torch.device) -> int:
    """Tokens in a batch, padding included: `wanted`, or with None what is fastest."""
    if wanted is not None:
        return wanted
    return GPU_BATCH_TOKENS if device.type == "cuda" else CPU_BATCH_TOKENS[engine]


def training_attention(device: torch.device) -> str | None:
    """The attention of a training step; None leaves the model's own, "sdpa" if it has that.

    On a CPU the backward pass of sdpa is slow: in bf16 a step takes 1.2 times as long.
    """
    return "eager" if device.type == "cpu" else None


def autocast(format: str, device: torch.device) -> AbstractContextManager:
    """Matrix products in that format, of weights that stay fp32."""
    half = HALF.get(format)
    return torch.autocast(device.type, dtype=half or torch.bfloat16, enabled=half is not None)
