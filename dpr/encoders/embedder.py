"""Opening an encoder by the engine that computes its vectors: CTranslate2 or torch.

A saved encoder ready to embed texts, in the number format that fits the device.
"""

import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from dpr.base.errors import InputError
from dpr.encoders import formats
from dpr.encoders.formats import Computes, EngineName, Format, Unconvertible
from dpr.encoders.spec import Role, passage_side, read_spec
from dpr.encoders.tokens import Tokenizer, Tokens
from dpr.settings import EncodeSettings
from dpr.similarity import SIMILARITIES


class Engine(NamedTuple):
    name: EngineName
    format: Format
    encoder: Computes


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
    from dpr.encoders import converted

    return converted.open_converted(folder, format, threads, cache)


class Embedder:
    """Texts to vectors. `format` is the number format in use, `engine` the library that computes.

    Args:
        folder: of the saved encoder.
        threads: of CTranslate2; torch has its own setting.
        scratch: a folder for converted encoders, which are made once and kept.
        precision: in place of `options.precision`.
    Raises:
        InputError: for a format that the device or the model does not have.
    """

    def __init__(
        self,
        folder: Path,
        options: EncodeSettings,
        device: torch.device,
        threads: int,
        scratch: Path,
        precision: str | None = None,
    ):
        self.folder, self.options, self.device = folder, options, device
        self.threads, self.scratch = threads, scratch
        self.spec, self.tokenizer = read_spec(folder), Tokenizer.open(folder)
        self.similarity = SIMILARITIES[self.spec.similarity]
        self.engine, self.format, self.encoder = open_engine(
            folder, precision or options.precision, device, threads, scratch / "converted"
        )
        self.dimension = self.encoder.dimension
        self.batch_tokens = formats.batch_tokens(options.batch_tokens, self.engine, device)

    def in_format(self, format: Format) -> "Embedder":
        """The same encoder in that number format."""
        if self.format == format:
            return self
        opened = self.folder, self.options, self.device, self.threads, self.scratch
        return Embedder(*opened, precision=format)

    @cached_property
    def passage_side(self) -> str:
        """As `spec.passage_side`, computed once."""
        return passage_side(self.folder)

    def embed_texts(self, texts: list[str], role: Role) -> np.ndarray:
        """(N, D) float32 vectors of a few texts."""
        return self.embed(self.tokenizer.tokenize(texts, role), role)

    def embed(
        self,
        tokens: list[Tokens],
        role: Role,
        progress: Callable[[int], object] = lambda count: None,
    ) -> np.ndarray:
        """Tokenized texts -> (N, D) float32 vectors, in the given order.

        Args:
            progress: called after each batch with its number of texts.
        """
        while True:
            try:
                return self.encoder.embed(tokens, role, self.batch_tokens, progress=progress)
            except torch.OutOfMemoryError:
                self._halve_batch(max(map(len, tokens)))

    def _halve_batch(self, longest: int) -> None:
        """After a batch that does not fit in memory; raises InputError for one that was set."""
        too_many = self.batch_tokens
        if self.options.batch_tokens is not None or too_many <= longest:
            raise InputError(
                f"params.yaml: encode.batch_tokens: a batch of {too_many} tokens does not fit in "
                "the memory of the device; set fewer, or shorten model.passage_max_length"
            ) from None
        self.batch_tokens = max(longest, too_many // 2)
        print(
            f"a batch of {too_many} tokens does not fit in the memory of the device; going on "
            f"with {self.batch_tokens}",
            file=sys.stderr,
        )
