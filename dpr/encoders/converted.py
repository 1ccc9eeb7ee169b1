"""Encoders on a CPU in int8 or fp32, by CTranslate2. Neither torch's weights nor transformers load.

conversion.py makes the folder that is opened here.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ctranslate2
import numpy as np
import torch

from dpr.base.files import read_json
from dpr.encoders.formats import Format
from dpr.encoders.pooling import pool
from dpr.encoders.spec import Role, read_spec
from dpr.encoders.tokens import Tokens, padded, token_batches
from dpr.similarity import SIMILARITIES

DIMENSION_FILE = "dimension.json"
TYPES = {"fp32": "float32", "int8": "int8"}  # the weights are converted when they are loaded


class ConvertedEncoder:
    """A dual encoder whose transformers are CTranslate2's; pooling and normalization are torch's.

    Each thread computes a batch of its own, so the vectors do not depend on their number.

    int8: weights are quantized by output channel, activations by token at each matrix product.
    """

    def __init__(self, folder: Path, format: Format, threads: int):
        self.spec, self.threads = read_spec(folder), threads
        self.similarity = SIMILARITIES[self.spec.similarity]
        self.dimension: int = read_json(folder / DIMENSION_FILE)
        folders = self.spec.folders(folder)
        torch_threads = torch.get_num_threads()
        opened = {
            source: ctranslate2.Encoder(
                str(source), compute_type=TYPES[format], inter_threads=threads, intra_threads=1
            )
            for source in set(folders.values())
        }
        torch.set_num_threads(torch_threads)  # CTranslate2 sets OpenMP's for this thread to 1
        self.models = {role: opened[source] for role, source in folders.items()}

    def embed(
        self,
        tokens: list[Tokens],
        role: Role,
        batch_tokens: int,
        progress: Callable[[int], object] = lambda count: None,
    ) -> np.ndarray:
        """Tokenized texts -> (N, D) float32 vectors, as `DualEncoder.embed`."""
        vectors = np.empty((len(tokens), self.dimension), dtype=np.float32)

        def fill(batch: list[int]) -> int:
            vectors[batch] = self._forward([tokens[i] for i in batch], role)
            return len(batch)

        with ThreadPoolExecutor(self.threads) as pool_of_threads:
            for count in pool_of_threads.map(fill, token_batches(tokens, batch_tokens)):
                progress(count)
        return vectors

    @torch.inference_mode()
    def _forward(self, tokens: list[Tokens], role: Role) -> np.ndarray:
        input_ids, mask = padded(tokens, padding=0)  # the lengths say what is padding
        output = self.models[role].forward_batch(
            ctranslate2.StorageView.from_array(input_ids.astype(np.int32)),
            ctranslate2.StorageView.from_array(mask.sum(1, dtype=np.int32)),
        )
        if self.spec.pooling == "pooler":
            if output.pooler_output is None:  # XLM-R is converted without one
                raise ValueError("it converts the model without its pooler")
            pooled = torch.from_numpy(np.array(output.pooler_output))
        else:
            states = torch.from_numpy(np.array(output.last_hidden_state))
            pooled = pool(states, torch.from_numpy(mask), self.spec.pooling)
        return self.similarity.vectors(pooled).numpy()
