"""Which engine computes vectors: CTranslate2 or torch.

| device | format | engine |
|---|---|---|
| CPU | int8, fp32 | CTranslate2, if it knows the model |
| CPU | bf16; fp32 of other models | torch |
| GPU | bf16, fp16, fp32 | torch |
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from dpr.base.errors import InputError
from dpr.encoders import formats
from dpr.encoders.formats import Format
from dpr.encoders.spec import Role
from dpr.encoders.tokens import Tokens


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
        progress: Callable[[int], object],
    ) -> np.ndarray:
        """Tokenized texts -> (N, D) float32 vectors, in the given order."""


class Engine(NamedTuple):
    name: str  # torch | ctranslate2
    format: Format
    encoder: Computes


def open_engine(
    folder: Path, precision: str, device: torch.device, threads: int, cache: Path
) -> Engine:
    """The encoder of `folder` in the first format of `precision` that it can be run in.

    Args:
        cache: a folder for conversions, which are made once and kept.
    Raises:
        InputError: for a format that the device or the model does not have.
    """
    for format in formats.encoding_formats(precision, device):
        if device.type != "cpu" or format not in ("int8", "fp32"):
            return _torch(folder, format, device)
        # Here, since a GPU machine need not have CTranslate2.
        from dpr.encoders.conversion import Unconvertible, converted
        from dpr.encoders.converted import ConvertedEncoder

        try:
            made = converted(folder, format, cache)
            return Engine("ctranslate2", format, ConvertedEncoder(made, format, threads))
        except Unconvertible as error:
            reason = f"{folder}: CTranslate2 cannot run it ({error})"
        if precision == "int8":
            raise InputError(f"params.yaml: encode.precision: int8: {reason}; set fp32 or bf16")
        print(f"{reason}; encoding with torch", file=sys.stderr)
    return _torch(folder, "fp32", device)


def _torch(folder: Path, format: Format, device: torch.device) -> Engine:
    from dpr.encoders import checkpoint  # here, since it loads transformers

    # Weights in half precision need no autocast.
    encoder = checkpoint.load(folder).to(device, formats.HALF.get(format, torch.float32))
    return Engine("torch", format, encoder)
