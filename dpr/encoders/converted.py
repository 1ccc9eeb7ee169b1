"""Encoders on a CPU in int8 or fp32, by CTranslate2: BERT, DistilBERT, RoBERTa and XLM-R.

int8: weights are quantized by output channel once, activations by token at each matrix product.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import ctranslate2
import numpy as np
import torch
from ctranslate2.converters import TransformersConverter
from filelock import FileLock

from dpr.base.files import fingerprint, new_folder, read_json, write_json
from dpr.encoders.dual_encoder import DualEncoder, Tokens, padded, token_batches
from dpr.encoders.formats import Format
from dpr.encoders.sentence_transformers_layout import transformer_folders
from dpr.encoders.spec import Role

# What the converter and the library raise for a model that they do not know.
CONVERSION_ERRORS = (ValueError, NotImplementedError, KeyError, AttributeError, RuntimeError)
TYPES = {"fp32": "float32", "int8": "int8"}
# A conversion whose vectors have a lower cosine to torch's is refused: another model than it says,
# or one whose activations int8 cannot hold.
LEAST_COSINE = {"fp32": 0.9999, "int8": 0.95}
PROBE = (
    "Dense retrieval compares the vectors of a query and a passage.",
    "heart failure",
    "Thirty-two patients with hypertension were followed for five years; 12 of them died.",
)


class Unconvertible(Exception):
    """A model that CTranslate2 does not know, or does not compute as torch does."""


class ConvertedEncoder:
    """A dual encoder with its transformers converted; pooling and normalization stay torch's.

    Each thread computes a batch of its own, so the vectors do not depend on their number.
    """

    def __init__(
        self, encoder: DualEncoder, folder: Path, format: Format, threads: int, cache: Path
    ):
        """Convert the encoder that is saved in `folder`, or take the conversion from `cache`.

        Raises:
            Unconvertible: saying why.
        """
        self.encoder, self.threads = encoder, threads
        query, passage = (
            _converted(source, format, cache)
            for source in transformer_folders(folder, encoder.spec.tied)
        )
        options = {
            "compute_type": TYPES[format],
            "inter_threads": threads,
            "intra_threads": 1,
        }
        self.models: dict[Role, ctranslate2.Encoder] = {
            "query": ctranslate2.Encoder(str(query), **options),
            "passage": ctranslate2.Encoder(str(passage), **options),
        }
        for role in self.models:
            self._require_same_vectors(role, format)

    def _require_same_vectors(self, role: Role, format: Format) -> None:
        tokens = self.encoder.tokenize(list(PROBE), role)
        ours = torch.from_numpy(self.embed(tokens, role, 1024))
        theirs = torch.from_numpy(self.encoder.embed(tokens, role, 1024, "fp32"))
        least = torch.cosine_similarity(ours, theirs).min().item()
        if not least >= LEAST_COSINE[format]:
            raise Unconvertible(f"in {format} its vectors have a cosine of {least:.4f} to torch's")

    def embed(
        self,
        tokens: list[Tokens],
        role: Role,
        batch_tokens: int,
        progress: Callable[[int], object] = lambda count: None,
    ) -> np.ndarray:
        """Tokenized texts -> (N, D) float32 vectors, as `DualEncoder.embed`."""
        vectors = np.empty((len(tokens), self.encoder.dimension), dtype=np.float32)

        def fill(batch: list[int]) -> int:
            vectors[batch] = self._forward([tokens[i] for i in batch], role)
            return len(batch)

        with ThreadPoolExecutor(self.threads) as pool:
            for count in pool.map(fill, token_batches(tokens, batch_tokens)):
                progress(count)
        return vectors

    @torch.inference_mode()
    def _forward(self, tokens: list[Tokens], role: Role) -> np.ndarray:
        input_ids, mask = padded(tokens, self.encoder.tokenizer.pad_token_id or 0)
        output = self.models[role].forward_batch(
            ctranslate2.StorageView.from_array(input_ids.astype(np.int32)),
            ctranslate2.StorageView.from_array(mask.sum(1, dtype=np.int32)),
        )
        states = torch.from_numpy(np.array(output.last_hidden_state))
        head = self.encoder.query if role == "query" else self.encoder.passage
        return head.pooled(states, torch.from_numpy(mask)).numpy()


def _converted(source: Path, format: Format, cache: Path) -> Path:
    """The folder of the converted transformer, made once for equal files."""
    inputs = [source / "config.json", source / "model.safetensors"]
    name = f"{fingerprint(inputs)[:16]}-{format}-{ctranslate2.__version__}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{name}.lock"):  # another stage may be converting the same
        if not (cache / name).exists():
            try:
                with new_folder(cache / name) as made, TemporaryDirectory() as copy:
                    _link(source, Path(copy))
                    converter = TransformersConverter(copy)
                    converter.convert(str(made), quantization=TYPES[format], force=True)
            except CONVERSION_ERRORS as error:
                raise Unconvertible(str(error)) from None
    return cache / name


def _link(source: Path, folder: Path) -> None:
    """The files of a transformer, with a key that the converter wants.

    transformers 5 no longer writes it, since it knows no other value.
    """
    for file in source.iterdir():
        if file.is_file() and file.name != "config.json":
            (folder / file.name).symlink_to(file.resolve())
    config = read_json(source / "config.json")
    write_json(folder / "config.json", {"position_embedding_type": "absolute"} | config)
