"""The dual encoder in torch: texts to tokens to vectors. It knows neither files nor training."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from dpr.encoders import formats
from dpr.encoders.pooling import pool
from dpr.encoders.spec import EncoderSpec, Role
from dpr.encoders.tokens import Tokenizer, Tokens, padded, token_batches
from dpr.similarity import SIMILARITIES, Similarity

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

AHEAD = 4  # batches queued on a GPU before the vectors of the first are fetched


class TextEncoder(nn.Module):
    """A transformer, its pooling, and for cosine the normalization to norm 1."""

    backbone: Any  # a PreTrainedModel; while LoRA trains, peft's wrapper

    def __init__(self, backbone: "PreTrainedModel", pooling: str, similarity: Similarity):
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.similarity = similarity

    def forward(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, T) token ids and mask -> (B, D) float32 vectors."""
        output = self.backbone(input_ids=input_ids, attention_mask=mask)
        if self.pooling == "pooler":  # a trained tanh layer over [CLS]
            return self.similarity.vectors(output.pooler_output.float())
        states = output.last_hidden_state.float()
        return self.similarity.vectors(pool(states, mask, self.pooling))


class DualEncoder(nn.Module):
    """A query encoder and a passage encoder; the same one if `spec.tied`."""

    def __init__(
        self,
        query_backbone: "PreTrainedModel",
        passage_backbone: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
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
        """See `Tokenizer.tokenize`."""
        backend = self.tokenizer.backend_tokenizer
        return Tokenizer(backend, self.spec).tokenize(texts, role, max_length)

    def forward(self, tokens: list[Tokens], role: Role) -> torch.Tensor:
        """A batch of B tokenized texts -> (B, D) float32 vectors."""
        encoder = self.query if role == "query" else self.passage
        return encoder(*(self._moved(a) for a in padded(tokens, self.tokenizer.pad_token_id)))

    def _moved(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":  # pinned memory is copied while the GPU computes
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    @torch.inference_mode()
    def embed(
        self,
        tokens: list[Tokens],
        role: Role,
        batch_tokens: int,
        number_format: str = "fp32",
        progress: Callable[[int], object] = lambda count: None,
    ) -> np.ndarray:
        """(N, D) float32 vectors of tokenized texts, in the given order; no gradients.

        Args:
            batch_tokens: tokens in a batch, padding included.
            number_format: of the matrix products: bf16, fp16, or fp32 for that of the weights.
            progress: called after each batch with its number of texts.
        """
        vectors = np.empty((len(tokens), self.dimension), dtype=np.float32)
        running: deque[tuple[list[int], torch.Tensor]] = deque()

        def fetch() -> None:
            batch, of_batch = running.popleft()
            vectors[batch] = of_batch.float().cpu().numpy()
            progress(len(batch))

        with formats.autocast(number_format, self.device):
            for batch in token_batches(tokens, batch_tokens):
                running.append((batch, self([tokens[i] for i in batch], role)))
                if self.device.type == "cpu" or len(running) > AHEAD:
                    fetch()
            while running:
                fetch()
        return vectors
