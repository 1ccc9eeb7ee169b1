"""Encoders on a CPU in int8 or fp32 by CTranslate2, which needs neither torch's weights nor
transformers.

A conversion is made once, for BERT, CamemBERT, DistilBERT, RoBERTa and XLM-R.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Union

import ctranslate2
import numpy as np
import torch
from filelock import FileLock

from dpr.base.errors import InputError
from dpr.base.files import fingerprint, new_folder, read_json, write_json
from dpr.encoders import head
from dpr.encoders.formats import Format, Unconvertible
from dpr.encoders.head import Head
from dpr.encoders.spec import ROLES, Role, read_spec
from dpr.encoders.tokens import Tokenizer, Tokens, padded, token_batches
from dpr.similarity import SIMILARITIES

if TYPE_CHECKING:
    from dpr.encoders.dual_encoder import DualEncoder

CONVERTIBLE = ("bert", "camembert", "distilbert", "roberta", "xlm-roberta")  # `model_type`
# Raised by the converter and the library for models that they do not support.
CONVERSION_ERRORS = (ValueError, NotImplementedError, KeyError, AttributeError, RuntimeError)
TYPES = {"fp32": "float32", "int8": "int8"}  # weights are quantized when they are loaded
# The least cosine of its vectors (fp32 to torch's, int8 to fp32's). An encoder below it is refused:
# the converter misread the model, or int8 cannot hold its activations.
LEAST_COSINE = {"fp32": 0.9999, "int8": 0.95}
PROBE = [
    "Dense retrieval compares the vectors of a query and a passage.",
    "heart failure",
    "Thirty-two patients with hypertension were followed for five years; 12 of them died.",
]


class ConvertedEncoder:
    """A dual encoder by CTranslate2; torch computes the head and normalizes.

    Each thread computes its own batch, so the number of threads changes no vector. In int8, weights
    are quantized per output channel, activations per token at each matrix product.
    """

    def __init__(self, folder: Path, conversion: Path, number_format: Format):
        self.spec, self.threads = read_spec(folder), torch.get_num_threads()
        self.similarity = SIMILARITIES[self.spec.similarity]
        models = {
            name: ctranslate2.Encoder(
                str(conversion / name),
                compute_type=TYPES[number_format],
                inter_threads=self.threads,
                intra_threads=1,
            )
            for name in _transformers(folder)
        }
        torch.set_num_threads(self.threads)  # CTranslate2 sets OpenMP's for this thread to 1
        self.models = {role: models[self.spec.side(role).modules[0]] for role in ROLES}
        self.heads = {}
        tokenizer = Tokenizer.open(folder)
        for role in ROLES:
            modules = [folder / name for name in self.spec.side(role).modules]
            self.heads[role] = Head(
                modules, tokenizer.prompt_length(role), self.similarity.normalize
            )
        self.dimension = self.heads["passage"].dimension

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
        layers = self.heads[role]
        states = output.pooler_output if layers.reads_pooler else output.last_hidden_state
        if states is None:  # as of a converted XLM-R
            raise ValueError("it converts the model without its pooler")
        vectors = layers(torch.from_numpy(np.array(states)), torch.from_numpy(mask))
        return self.similarity.vectors(vectors).numpy()


def open_converted(folder: Path, number_format: Format, scratch: Path) -> ConvertedEncoder:
    """A saved encoder by CTranslate2, with as many threads as torch.

    Args:
        scratch: folder for conversions; equal files are converted and checked once.
    Raises:
        Unconvertible: saying why.
        InputError: for a damaged conversion.
    """
    for source in _transformers(folder).values():
        config = source / "config.json"  # a static embedding model has none
        kind = read_json(config).get("model_type") if config.exists() else None
        if kind not in CONVERTIBLE:
            raise Unconvertible(f"it does not support the model type {kind}")
    code = [Path(__file__), Path(head.__file__)]
    inputs = fingerprint([folder, *code])[:16]
    conversion = scratch / f"{inputs}-{version('ctranslate2')}-{version('transformers')}"
    scratch.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{conversion}.lock"):  # a parallel stage may be converting the same encoder
        if not conversion.exists():
            with new_folder(conversion) as unfinished:
                _convert(folder, unfinished)
    try:
        exact = ConvertedEncoder(folder, conversion, "fp32")
        if number_format == "fp32":
            return exact
        encoder = ConvertedEncoder(folder, conversion, number_format)
    except (InputError, RuntimeError) as error:
        raise InputError(f"{conversion}: damaged ({error}); delete the folder") from None
    _require_near(encoder, exact, Tokenizer.open(folder), number_format)
    return encoder


def _transformers(folder: Path) -> dict[str, Path]:
    """The folders of an encoder's transformers, by their names in it."""
    spec = read_spec(folder)
    return {name: folder / name for name in (spec.side(role).modules[0] for role in ROLES)}


def _convert(folder: Path, target: Path) -> None:
    # Imported late: both load transformers, which a finished conversion does not need.
    from ctranslate2.converters import TransformersConverter

    from dpr.encoders import checkpoint

    encoder = checkpoint.load(folder, "float32")
    try:
        for name, source in _transformers(folder).items():
            with TemporaryDirectory() as copy:
                _link(source, Path(copy))
                TransformersConverter(copy).convert(str(target / name), force=True)
        converted = ConvertedEncoder(folder, target, "fp32")
        _require_near(converted, encoder, encoder.tokenizer, "fp32")
    except CONVERSION_ERRORS as error:
        raise Unconvertible(str(error)) from None


def _link(source: Path, folder: Path) -> None:
    """Link the files of a transformer.

    transformers 5 no longer writes `position_embedding_type`, which the converter reads.
    """
    for file in source.iterdir():
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
    for role in ROLES:
        tokens = tokenizer.tokenize(PROBE, role)
        vectors, exact = (one.embed(tokens, role, 1024) for one in (encoder, reference))
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(exact, axis=1)
        least = ((vectors * exact).sum(axis=1) / norms).min()
        if not least >= LEAST_COSINE[number_format]:  # NaN is refused, too
            raise Unconvertible(
                f"in {number_format} its vectors have a cosine of {least:.4f} to exact ones"
            )
