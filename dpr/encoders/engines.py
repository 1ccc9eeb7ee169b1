"""Opening an encoder by the engine that computes its vectors: CTranslate2 or torch."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from dpr.base.errors import InputError
from dpr.encoders import formats
from dpr.encoders.formats import EngineName, Format
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
        progress: Callable[[int], object] = ...,
    ) -> np.ndarray:
        """Tokenized texts -> (N, D) float32 vectors, in the given order."""


class Engine(NamedTuple):
    name: EngineName
    format: Format
    encoder: Computes


class Unconvertible(Exception):
    """A model that CTranslate2 does not know, or does not compute as torch does."""


def open_engine(
    folder: Path, precision: str, device: torch.device, threads: int, cache: Path
) -> Engine:
    """The encoder of `folder`, by the first engine that knows it.

    Args:
        cache: a folder for conversions, which are made once and kept.
    Raises:
        InputError: for a format that the device or the model does not have.
    """
    refused = ""
    for name, format in formats.encoding_engines(precision, device):
        try:
            if name == "torch":
                encoder = _by_torch(folder, format, device)
            else:
                encoder = _by_ctranslate2(folder, format, threads, cache)
        except Unconvertible as error:
            refused = f"{folder}: CTranslate2 cannot run it ({error})"
            continue
        if refused:
            print(f"{refused}; encoding in {format} by {name}", file=sys.stderr)
        return Engine(name, format, encoder)
    raise InputError(f"params.yaml: encode.precision: {precision}: {refused}; set fp32 or bf16")


# Imports are inside, since transformers loads slowly and a GPU machine need not have CTranslate2.


def _by_torch(folder: Path, format: Format, device: torch.device) -> Computes:
    from dpr.encoders import checkpoint

    # Weights in half precision need no autocast.
    return checkpoint.load(folder, formats.HALF.get(format, torch.float32)).to(device)


def _by_ctranslate2(folder: Path, format: Format, threads: int, cache: Path) -> Computes:
    from dpr.encoders import conversion

    return conversion.open_converted(folder, format, threads, cache)
