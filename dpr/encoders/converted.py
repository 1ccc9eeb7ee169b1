"""Encoders on a CPU in int8 or fp32 by CTranslate2, which needs neither torch's weights nor
transformers.

A conversion is made once, for BERT, CamemBERT, DistilBERT, RoBERTa and XLM-R.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Union, get_args

import ctranslate2
import numpy as np
import torch
from filelock import FileLock

from dpr.base.errors import InputError
from dpr.base.files import fingerprint, new_folder, read_json, write_json
from dpr.encoders.formats import Format, Unconvertible
from dpr.encoders.pooling import pool
from dpr.encoders.spec import SPEC_FILE, Role, read_spec
from dpr.encoders.tokens import Tokenizer, Tokens, padded, token_batches
from dpr.similarity import SIMILARITIES

if TYPE_CHECKING:
    from dpr.encoders.dual_encoder import DualEncoder

CONVERTIBLE = ("bert", "camembert", "distilbert", "roberta", "xlm-roberta")  # `model_type`
# Raised by the converter and the library for models that they do not support.
CONVERSION_ERRORS = (ValueError, NotImplementedError, KeyError, AttributeError, RuntimeError)
TYPES = {"fp32": "float32", "int8": "int8"}  # weights are quantized when they are loaded
DIMENSION_FILE = "dimension.json"
# The least cosine of its vectors (fp32 to torch's, int8 to fp32's). An encoder below it is refused:
# the converter misread the model, or int8 cannot hold its activations.
LEAST_COSINE = {"fp32": 0.9999, "int8": 0.95}
PROBE = [
    "Dense retrieval compares the vectors of a query and a passage.",
    "heart failure",
    "Thirty-two patients with hypertension were followed for five years; 12 of them died.",
]


class ConvertedEncoder:
    """A dual encoder by CTranslate2; torch pools and normalizes.

    Each thread computes its own batch, so the number of threads changes no vector. In int8, weights
    are quantized per output channel, activations per token at each matrix product.
    """

    def __init__(self, folder: Path, number_format: Format):
        self.spec, self.threads = read_spec(folder), torch.get_num_threads()
        self.similarity = SIMILARITIES[self.spec.similarity]
        self.dimension: int = read_json(folder / DIMENSION_FILE)
        folders = self.spec.folders(folder)
        models = {
            source: ctranslate2.Encoder(
                str(source),
                compute_type=TYPES[number_format],
                inter_threads=self.threads,
                intra_threads=1,
            )
            for source in set(folders.values())
        }
        torch.set_num_threads(self.threads)  # CTranslate2 sets OpenMP's for this thread to 1
        self.models = {role: models[source] for role, source in folders.items()}

    def embed(
        self,
        tokens: list[Tokens],
        role: Role,
        batch_tokens: int,
        progress: Callable[[int], object] = lambda count: None,
    ) -> np.ndarray:
        """(N, D) float32 vectors of tokenized texts, see `DualEncoder.embed`."""
        vectors = np.empty((len(tokens), self.dimension), dtype=np.float32)

        def fill(batch: list[int]) -> int:
            vectors[batch] = self._forward([tokens[i] for i in batch], role)
            return len(batch)

        with ThreadPoolExecutor(self.threads) as threads:
            for count in threads.map(fill, token_batches(tokens, batch_tokens)):
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
            if output.pooler_output is None:  # as of a converted XLM-R
                raise ValueError("it converts the model without its pooler")
            pooled = torch.from_numpy(np.array(output.pooler_output))
        else:
            states = torch.from_numpy(np.array(output.last_hidden_state))
            pooled = pool(states, torch.from_numpy(mask), self.spec.pooling)
        return self.similarity.vectors(pooled).numpy()


def open_converted(folder: Path, number_format: Format, cache: Path) -> ConvertedEncoder:
    """A saved encoder by CTranslate2, with as many threads as torch.

    Args:
        cache: folder for conversions; equal files are converted and checked once.
    Raises:
        Unconvertible: saying why.
        InputError: for a damaged conversion.
    """
    for source in read_spec(folder).folders(folder).values():
        kind = read_json(source / "config.json").get("model_type")
        if kind not in CONVERTIBLE:
            raise Unconvertible(f"it does not support the model type {kind}")
    inputs = fingerprint([folder, Path(__file__)])[:16]
    conversion = cache / f"{inputs}-{version('ctranslate2')}-{version('transformers')}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{conversion}.lock"):  # a parallel stage may be converting the same encoder
        if not conversion.exists():
            with new_folder(conversion) as partial:
                _convert(folder, partial)
    try:
        exact = ConvertedEncoder(conversion, "fp32")
        if number_format == "fp32":
            return exact
        encoder = ConvertedEncoder(conversion, number_format)
    except (InputError, RuntimeError) as error:
        raise InputError(f"{conversion}: damaged ({error}); delete the folder") from None
    _require_near(encoder, exact, Tokenizer.open(folder), number_format)
    return encoder


def _convert(folder: Path, target: Path) -> None:
    # Imported late: both load transformers, which a finished conversion does not need.
    from ctranslate2.converters import TransformersConverter

    from dpr.encoders import checkpoint

    encoder = checkpoint.load(folder, "float32")
    sources, targets = (encoder.spec.folders(root) for root in (folder, target))
    try:
        for role, source in sources.items():
            if not (targets[role] / "model.bin").exists():  # tied: one transformer for both roles
                with TemporaryDirectory() as copy:
                    _link(source, sources["passage"], Path(copy))
                    TransformersConverter(copy).convert(str(targets[role]), force=True)
        # Last, since the converter empties its folder.
        write_json(target / SPEC_FILE, encoder.spec.as_dict())
        write_json(target / DIMENSION_FILE, encoder.dimension)
        converted = ConvertedEncoder(target, "fp32")
        _require_near(converted, encoder, Tokenizer.open(folder), "fp32")
    except CONVERSION_ERRORS as error:
        raise Unconvertible(str(error)) from None


def _link(source: Path, tokenizer: Path, folder: Path) -> None:
    """Link a transformer's weights and the passage tokenizer, which serves both roles.

    transformers 5 no longer writes `position_embedding_type`, which the converter reads.
    """
    tokens = (path for path in tokenizer.iterdir() if ".safetensors" not in path.name)
    for file in (*source.glob("*.safetensors*"), *tokens):
        if file.is_file() and file.name != "config.json":
            (folder / file.name).symlink_to(file.resolve())
    config = read_json(source / "config.json")
    write_json(folder / "config.json", {"position_embedding_type": "absolute"} | config)


def _require_near(
    encoder: ConvertedEncoder,
    reference: Union[ConvertedEncoder, "DualEncoder"],
    tokenizer: Tokenizer,
    number_format: Format,
) -> None:
    for role in get_args(Role):
        tokens = tokenizer.tokenize(PROBE, role)
        vectors, exact = (one.embed(tokens, role, 1024) for one in (encoder, reference))
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(exact, axis=1)
        least = ((vectors * exact).sum(axis=1) / norms).min()
        if not least >= LEAST_COSINE[number_format]:  # NaN is refused, too
            raise Unconvertible(
                f"in {number_format} its vectors have a cosine of {least:.4f} to exact ones"
            )
