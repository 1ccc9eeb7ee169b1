"""A saved encoder ready to embed texts, in the number format that fits the device."""

import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from dpr.base.errors import InputError
from dpr.encoders import formats
from dpr.encoders.engines import open_engine
from dpr.encoders.formats import Format
from dpr.encoders.spec import Role, passage_side, read_spec
from dpr.encoders.tokens import Tokenizer, Tokens
from dpr.settings import EncodeSettings
from dpr.similarity import SIMILARITIES


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
