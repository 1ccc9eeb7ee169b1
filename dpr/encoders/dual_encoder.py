"""The dual encoder in torch: texts to tokens to vectors. It knows neither files nor training.

Each role is a list of sentence-transformers modules. That library loads, runs and saves them; the
batches, the number formats and the cosine's normalization are ours.
"""

from collections import deque
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from torch import nn

from dpr.encoders import formats
from dpr.encoders.spec import ROLES, EncoderSpec, Role
from dpr.encoders.tokens import Tokenizer, Tokens, padded, token_batches
from dpr.similarity import SIMILARITIES, Similarity

AHEAD = 4  # batches queued on a GPU before the vectors of the first are fetched


class TextEncoder(nn.Module):
    """The modules of one role, in order: a `Transformer` or `StaticEmbedding`, then its head."""

    def __init__(self, modules: Iterable[nn.Module], similarity: Similarity):
        super().__init__()
        self.layers = nn.ModuleList(modules)
        self.similarity = similarity

    @property
    def first(self) -> Any:
        """The module that reads tokens."""
        return self.layers[0]

    @property
    def transformer(self) -> Any:
        """The Transformer, or None. Its `model` is a PreTrainedModel; while LoRA trains, peft's."""
        return self.first if isinstance(self.first, Transformer) else None

    @property
    def uses_pooler(self) -> bool:
        """Whether the transformer's own pooler makes the vectors."""
        return self.transformer is not None and not any(
            isinstance(layer, Pooling) for layer in self.layers
        )

    @property
    def dimension(self) -> int:
        sized: list[Any] = [m for m in self.layers if hasattr(m, "get_embedding_dimension")]
        return int(sized[-1].get_embedding_dimension())

    def features(self, tokens: list[Tokens], prompt_length: int = 0) -> dict[str, Any]:
        """A batch of B tokenized texts as the first module reads it, of NumPy arrays."""
        if isinstance(self.first, StaticEmbedding):
            ends = np.cumsum([0, *map(len, tokens)])
            return {"input_ids": np.concatenate(tokens, dtype=np.int64), "offsets": ends[:-1]}
        input_ids, mask = padded(tokens, self.first.tokenizer.pad_token_id)
        features = {"input_ids": input_ids, "attention_mask": mask}
        return features | ({"prompt_length": prompt_length} if prompt_length else {})

    def forward(self, features: dict[str, Any]) -> torch.Tensor:
        """`features` of B texts as tensors -> (B, D) float32 vectors, of norm 1 for cosine."""
        features = self.first(features)
        with torch.autocast(features["input_ids"].device.type, enabled=False):
            for name in features.keys() & {"token_embeddings", "sentence_embedding"}:
                features[name] = features[name].float()
            for layer in self.layers[1:]:
                features = layer(features)
            return self.similarity.vectors(features["sentence_embedding"])


class DualEncoder(nn.Module):
    """A query encoder and a passage encoder; the same one if `spec.tied`."""

    def __init__(self, query: TextEncoder, passage: TextEncoder, spec: EncoderSpec):
        super().__init__()
        self.passage, self.query, self.spec = passage, query, spec
        self.similarity = SIMILARITIES[spec.similarity]

    def side(self, role: Role) -> TextEncoder:
        return self.query if role == "query" else self.passage

    @property
    def dimension(self) -> int:
        return self.passage.dimension

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def tokenizer(self) -> Tokenizer:
        tokenizers = {role: self.side(role).first.tokenizer for role in ROLES}
        backends = {r: getattr(t, "backend_tokenizer", t) for r, t in tokenizers.items()}
        return Tokenizer(backends, self.spec)

    @cached_property
    def _prompt_lengths(self) -> dict[Role, int]:
        return {role: self.tokenizer.prompt_length(role) for role in ROLES}

    def tokenize(self, texts: list[str], role: Role, max_length: int | None = None) -> list[Tokens]:
        """See `Tokenizer.tokenize`."""
        return self.tokenizer.tokenize(texts, role, max_length)

    def forward(self, tokens: list[Tokens], role: Role) -> torch.Tensor:
        """A batch of B tokenized texts -> (B, D) float32 vectors."""
        side = self.side(role)
        features = side.features(tokens, self._prompt_lengths[role])
        return side({name: self._moved(value) for name, value in features.items()})

    def _moved(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        tensor = torch.from_numpy(value)
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
