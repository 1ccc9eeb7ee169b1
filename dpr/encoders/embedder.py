"""An encoder ready to embed texts: in the number format, and with the engine, that fit the device.

| device | format | engine |
|---|---|---|
| CPU | int8, fp32 | CTranslate2, if it knows the model |
| CPU | bf16; fp32 of other models | torch |
| GPU | bf16, fp16, fp32 | torch |
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from dpr.base.errors import InputError
from dpr.base.files import fingerprint
from dpr.encoders import checkpoint, formats
from dpr.encoders.dual_encoder import DualEncoder, Tokens
from dpr.encoders.formats import Format
from dpr.encoders.spec import Role
from dpr.settings import EncodeSettings

if TYPE_CHECKING:
    from dpr.encoders.converted import ConvertedEncoder


class Embedder:
    """Texts to vectors, with a saved encoder.

    `format` is the number format in use.
    """

    def __init__(
        self,
        folder: Path,
        options: EncodeSettings,
        device: torch.device,
        threads: int,
        scratch: Path,
    ):
        """Load the encoder of `folder`.

        Args:
            threads: of CTranslate2; torch has its own setting.
            scratch: a folder for converted encoders, which are made once and kept.
        Raises:
            InputError: for a format that the device or the model does not have.
        """
        self.folder, self.device, self.threads, self.scratch = folder, device, threads, scratch
        self.options = options
        self.encoder: DualEncoder = checkpoint.load(folder)
        self.converted: ConvertedEncoder | None = None
        self.format = self._choose_format()
        self.batch_tokens = formats.batch_tokens(options.batch_tokens, self.format, device)
        if self.converted is None:
            self.encoder.to(device=device, dtype=formats.HALF.get(self.format, torch.float32))

    def _choose_format(self) -> Format:
        """The first format that the model can be run in; sets `converted` for CTranslate2."""
        wanted = self.options.precision
        for format in formats.encoding_formats(wanted, self.device):
            if self.device.type != "cpu" or format not in ("int8", "fp32"):
                return format
            # Here, since a GPU machine need not have CTranslate2.
            from dpr.encoders.converted import ConvertedEncoder, Unconvertible

            try:
                self.converted = ConvertedEncoder(
                    self.encoder, self.folder, format, self.threads, self.scratch / "converted"
                )
                return format
            except Unconvertible as error:
                reason = f"{self.folder}: CTranslate2 cannot run it ({error})"
            if wanted == "int8":
                raise InputError(f"params.yaml: encode.precision: int8: {reason}; set fp32 or bf16")
            print(f"{reason}; encoding with torch", file=sys.stderr)
        return format if format != "int8" else "fp32"

    def in_fp32(self) -> "Embedder":
        """The same encoder in fp32."""
        if self.format == "fp32":
            return self
        options = self.options.model_copy(update={"precision": "fp32"})
        return Embedder(self.folder, options, self.device, self.threads, self.scratch)

    @property
    def engine(self) -> str:
        """The library that computes."""
        return "ctranslate2" if self.converted else "torch"

    @property
    def fingerprint(self) -> str:
        """Of the encoder's files."""
        return fingerprint([self.folder])

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
        if self.converted:
            return self.converted.embed(tokens, role, self.batch_tokens, progress)
        while True:
            try:  # weights in half precision need no autocast
                return self.encoder.embed(tokens, role, self.batch_tokens, "fp32", progress)
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

    def embed_texts(self, texts: list[str], role: Role) -> np.ndarray:
        """(N, D) float32 vectors of a few texts."""
        return self.embed(self.encoder.tokenize(texts, role), role)
