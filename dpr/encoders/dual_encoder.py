"""The dual encoder: texts to tokens to vectors. It knows nothing of files and of training."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpr.encoders import formats
from dpr.encoders.pooling import pool
from dpr.encoders.spec import EncoderSpec, Role
from dpr.similarity import SIMILARITIES, Similarity

TOKENIZED_AT_ONCE = 1_000  # texts; the tokenizer's own output is large
AHEAD = 4  # batches that a GPU has been given before the vectors of the first are fetched
Tokens = np.ndarray  # (T,) int32 token ids of one text, with [CLS] and [SEP], truncated


class TextEncoder(nn.Module):
    """A transformer, its pooling, and (for cosine) the normalization to norm 1."""

    backbone: Any  # a PreTrainedModel or, while LoRA trains, peft's wrapper of it

    def __init__(self, backbone: PreTrainedModel, pooling: str, similarity: Similarity):
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.similarity = similarity

    def forward(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, T) token ids and mask -> (B, D) float32 vectors."""
        output = self.backbone(input_ids=input_ids, attention_mask=mask)
        return self.pooled(output.last_hidden_state, mask)

    def pooled(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, T, D) last hidden states -> (B, D) float32 vectors."""
        if self.pooling == "pooler":  # a trained tanh layer over [CLS]
            return self.similarity.vectors(self.backbone.pooler(states).float())
        return self.similarity.vectors(pool(states.float(), mask, self.pooling))


class DualEncoder(nn.Module):
    """A query encoder and a passage encoder; they are one and the same if `spec.tied`."""

    def __init__(
        self,
        query_backbone: PreTrainedModel,
        passage_backbone: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        spec: EncoderSpec,
    ):
        super().__init__()
        similarity = SIMILARITIES[spec.similarity]
        self.passage = TextEncoder(passage_backbone, spec.pooling, similarity)
        self.query = (
            self.passage if spec.tied else TextEncoder(query_backbone, spec.pooling, similarity)
        )
        self.tokenizer = tokenizer
        self.spec = spec
        self.similarity = similarity

    @property
    def dimension(self) -> int:
        return int(self.passage.backbone.config.hidden_size)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def tokenize(self, texts: list[str], role: Role, max_length: int | None = None) -> list[Tokens]:
        """Token ids of each text, with the role's prefix.

        They are truncated to the role's length, or to `max_length` if that is shorter.
        """
        limit = min(max_length or self.spec.max_length(role), self.spec.max_length(role))
        return self._token_ids(texts, role, {"truncation": True, "max_length": limit})

    def count_tokens(self, texts: list[str], role: Role) -> list[int]:
        """Tokens of each text, with the role's prefix, before anything is truncated."""
        return [len(ids) for ids in self._token_ids(texts, role, {"verbose": False})]

    def _token_ids(self, texts: list[str], role: Role, options: dict[str, Any]) -> list[Tokens]:
        tokens: list[Tokens] = []
        for start in range(0, len(texts), TOKENIZED_AT_ONCE):
            block = self.spec.with_prefix(texts[start : start + TOKENIZED_AT_ONCE], role)
            encoded = self.tokenizer(block, return_attention_mask=False, **options)
            tokens += [np.asarray(ids, dtype=np.int32) for ids in encoded["input_ids"]]
        return tokens

    def forward(self, tokens: list[Tokens], role: Role) -> torch.Tensor:
        """A batch of B tokenized texts -> (B, D) float32 vectors."""
        encoder = self.query if role == "query" else self.passage
        return encoder(*(self._moved(a) for a in padded(tokens, self.tokenizer.pad_token_id or 0)))

    def _moved(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":  # pinned memory is copied while the GPU computes
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor

    @torch.inference_mode()
    def embed(
        self,
        tokens: list[Tokens],
        role: Role,
        batch_tokens: int,
        format: str,
        progress: Callable[[int], object] = lambda count: None,
    ) -> np.ndarray:
        """Tokenized texts -> (N, D) float32 vectors, in the given order; no gradients.

        Args:
            batch_tokens: tokens in a batch, padding included.
            format: of the matrix products: fp32, bf16 or fp16.
            progress: called after each batch with its number of texts.
        """
        vectors = np.empty((len(tokens), self.dimension), dtype=np.float32)
        running: deque[tuple[list[int], torch.Tensor]] = deque()

        def fetch() -> None:
            batch, found = running.popleft()
            vectors[batch] = found.float().cpu().numpy()
            progress(len(batch))

        with formats.autocast(format, self.device):
            for batch in token_batches(tokens, batch_tokens):
                running.append((batch, self([tokens[i] for i in batch], role)))
                if self.device.type == "cpu" or len(running) > AHEAD:
                    fetch()
            while running:
                fetch()
        return vectors


def padded(tokens: list[Tokens], padding: int) -> tuple[np.ndarray, np.ndarray]:
    """B texts -> (B, T) int64 token ids, padded on the right, and (B, T) int64 mask."""
    input_ids = np.full((len(tokens), max(map(len, tokens))), padding)
    mask = np.zeros_like(input_ids)
    for row, ids in enumerate(tokens):
        input_ids[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return input_ids, mask


def token_batches(tokens: list[Tokens], batch_tokens: int) -> Iterator[list[int]]:
    """Positions of texts in batches of similar length, the longest first.

    A batch holds at most `batch_tokens` tokens, padding included, but at least one text.
    """
    order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
    while order:
        size = max(1, batch_tokens // len(tokens[order[0]]))
        yield order[:size]
        order = order[size:]
