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

import numpy as np
import torch

from dpr.base.errors import InputError
from dpr.base.files import fingerprint
from dpr.encoders import checkpoint, formats
from dpr.encoders.dual_encoder import DualEncoder, Tokens
from dpr.encoders.formats import Format
from dpr.encoders.spec import Role
from dpr.settings import EncodeSettings


class Embedder:
    """Texts to vectors, with a saved encoder.

    `format` is the number format in use, `engine` the library that computes in it.
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
        self.folder = folder
        self.encoder: DualEncoder = checkpoint.load(folder)
        self.format, self.engine, self._embed = self._choose(options, device, threads, scratch)
        self.batch_tokens = formats.batch_tokens(options.batch_tokens, self.format, device)

    def _choose(
        self, options: EncodeSettings, device: torch.device, threads: int, scratch: Path
    ) -> tuple[Format, str, Callable[..., np.ndarray]]:
        for format in formats.encoding_formats(options.precision, device):
            if device.type == "cpu" and format in ("int8", "fp32"):
                # Here, since a GPU machine need not have the library.
                from dpr.encoders.converted import ConvertedEncoder, Unconvertible

                try:
                    converted = ConvertedEncoder(
                        self.encoder, self.folder, format, threads, scratch / "converted"
                    )
                    return format, "ctranslate2", converted.embed
                except Unconvertible as error:
                    reason = f"{self.folder}: CTranslate2 cannot run it ({error})"
                if options.precision == "int8":
                    raise InputError(
                        f"params.yaml: encode.precision: int8: {reason}; set fp32 or bf16"
                    )
                print(f"{reason}; encoding with torch", file=sys.stderr)
                if format == "int8":
                    continue
            dtype = formats.HALF.get(format, torch.float32)
            self.encoder.to(device=device, dtype=dtype)
            return format, "torch", self._embed_by_torch
        raise AssertionError("the last format is never int8")

    def _embed_by_torch(self, tokens: list[Tokens], role: Role, *options: object) -> np.ndarray:
        batch_tokens, *progress = options
        return self.encoder.embed(tokens, role, batch_tokens, "fp32", *progress)  # type: ignore[arg-type]

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
        return self._embed(tokens, role, self.batch_tokens, progress)

    def embed_texts(self, texts: list[str], role: Role) -> np.ndarray:
        """(N, D) float32 vectors of a few texts."""
        return self.embed(self.encoder.tokenize(texts, role), role)
