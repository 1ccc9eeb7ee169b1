"""A saved encoder, opened to embed texts in the number format that fits the device."""

import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from dpr.base.errors import InputError
from dpr.encoders import formats
from dpr.encoders.formats import EngineName, Format, Unconvertible
from dpr.encoders.spec import Role, passage_side, read_spec
from dpr.encoders.tokens import Tokenizer, Tokens
from dpr.records.types import Query
from dpr.settings import EncodeSettings
from dpr.similarity import SIMILARITIES

if TYPE_CHECKING:  # transformers loads slowly, and a GPU machine need not have CTranslate2
    from dpr.encoders.converted import ConvertedEncoder
    from dpr.encoders.dual_encoder import DualEncoder

    Encoder = ConvertedEncoder | DualEncoder


class Embedder:
    """Texts to vectors. `format` is the number format in use, `engine` the library that computes.

    Args:
        folder: the saved encoder.
        options: `encode` of params.yaml.
        device: for torch. CTranslate2 runs on the CPU, with as many threads as torch.
        scratch: a folder for conversions, each made once, and for unfinished embeddings.
        precision: replaces `options.precision`.
    Raises:
        InputError: for a number format that the device or the model lacks.
    """

    def __init__(
        self,
        folder: Path,
        options: EncodeSettings,
        device: torch.device,
        scratch: Path,
        precision: str | None = None,
    ):
        self.folder, self.options, self.device, self.scratch = folder, options, device, scratch
        self.spec, self.tokenizer = read_spec(folder), Tokenizer.open(folder)
        self.similarity = SIMILARITIES[self.spec.similarity]
        self.engine, self.format, self.encoder = self._open(precision or options.precision)
        self.dimension = self.encoder.dimension

    def _open(self, precision: str) -> tuple[EngineName, Format, "Encoder"]:
        """Engine, format and encoder: the first engine that supports the model."""
        refusal = ""
        for name, number_format in formats.encoding_engines(precision, self.device):
            try:
                encoder = self._open_with(name, number_format)
            except Unconvertible as error:
                refusal = f"{self.folder}: CTranslate2 cannot run it ({error})"
                continue
            if refusal:
                print(f"{refusal}; encoding in {number_format} by {name}", file=sys.stderr)
            return name, number_format, encoder
        raise InputError(f"params.yaml: encode.precision: {precision}: {refusal}; set fp32 or bf16")

    def _open_with(self, engine: EngineName, number_format: Format) -> "Encoder":
        if engine == "ctranslate2":
            from dpr.encoders.converted import open_converted

            return open_converted(self.folder, number_format, self.scratch / "converted")
        from dpr.encoders import checkpoint

        # Weights in half precision need no autocast.
        dtype = formats.HALF.get(number_format, torch.float32)
        return checkpoint.load(self.folder, dtype).to(self.device)

    def in_format(self, number_format: Format) -> "Embedder":
        """The same encoder in that number format."""
        if self.format == number_format:
            return self
        return Embedder(self.folder, self.options, self.device, self.scratch, number_format)

    @cached_property
    def batch_tokens(self) -> int:
        """Tokens in a batch, padding included; fewer after one that did not fit in memory."""
        return self.options.batch_tokens or formats.batch_tokens(self.engine, self.device)

    @cached_property
    def passage_side(self) -> str:
        """See `spec.passage_side`."""
        return passage_side(self.folder)

    def embed_queries(self, queries: Sequence[Query]) -> np.ndarray:
        """(Q, D) float32 vectors of queries; errors as in `require_finite`."""
        vectors = self.embed_texts([query.text for query in queries], "query")
        self.require_finite(vectors, queries)
        return vectors

    def require_finite(self, vectors: np.ndarray, queries: Sequence[Query]) -> None:
        """Raises InputError for a query vector with NaN or infinity, which retrieves nothing."""
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            raise InputError(
                f"{self.folder}: gives query {queries[int(finite.argmin())].id!r} a vector with "
                "NaN or infinity; the encoder is broken (a diverged training?): train again"
            )

    def embed_texts(self, texts: list[str], role: Role) -> np.ndarray:
        """(N, D) float32 vectors of a few texts."""
        return self.embed(self.tokenizer.tokenize(texts, role), role)

    def embed(
        self,
        tokens: list[Tokens],
        role: Role,
        progress: Callable[[int], object] = lambda count: None,
    ) -> np.ndarray:
        """(N, D) float32 vectors of tokenized texts, in the given order.

        Args:
            progress: called after each batch with its number of texts.
        """
        while True:
            try:
                return self.encoder.embed(tokens, role, self.batch_tokens, progress=progress)
            except torch.OutOfMemoryError:
                self._halve_batch(max(map(len, tokens)))

    def _halve_batch(self, longest: int) -> None:
        """Raises InputError for a batch size that the user set, or one that fits a single text."""
        too_many = self.batch_tokens
        if self.options.batch_tokens is not None or too_many <= longest:
            raise InputError(
                f"params.yaml: encode.batch_tokens: a batch of {too_many} tokens does not fit in "
                "the memory of the device; set fewer, or shorten model.passage_max_length"
            ) from None
        self.batch_tokens = max(longest, too_many // 2)
        print(
            f"a batch of {too_many} tokens does not fit in the memory of the device; continuing "
            f"with {self.batch_tokens}",
            file=sys.stderr,
        )
