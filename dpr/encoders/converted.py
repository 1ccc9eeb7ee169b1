"""Encoders on a CPU in int8 or fp32, by CTranslate2. Neither torch's weights nor transformers load.

conversion.py makes the folder that is opened here.


Converting an encoder for CTranslate2, once: BERT, CamemBERT, DistilBERT, RoBERTa, XLM-R.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import ctranslate2
import numpy as np
import torch
from filelock import FileLock

from dpr.base.errors import InputError
from dpr.base.files import fingerprint, new_folder, read_json, write_json
from dpr.encoders.formats import Computes, Format, Unconvertible
from dpr.encoders.pooling import pool
from dpr.encoders.spec import SPEC_FILE, Role, read_spec
from dpr.encoders.tokens import Tokenizer, Tokens, padded, token_batches
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


# The `model_type` of the models that it converts to an encoder.
CONVERTIBLE = ("bert", "camembert", "distilbert", "roberta", "xlm-roberta")
# What the converter and the library raise for a model that they do not know.
CONVERSION_ERRORS = (ValueError, NotImplementedError, KeyError, AttributeError, RuntimeError)
# An encoder whose vectors have a lower cosine (fp32 to torch's, int8 to fp32's) is refused: another
# model than it says, or one whose activations int8 cannot hold.
LEAST_COSINE = {"fp32": 0.9999, "int8": 0.95}
PROBE = [
    "Dense retrieval compares the vectors of a query and a passage.",
    "heart failure",
    "Thirty-two patients with hypertension were followed for five years; 12 of them died.",
]
ROLES: tuple[Role, ...] = ("query", "passage")


def open_converted(folder: Path, format: Format, threads: int, cache: Path) -> ConvertedEncoder:
    """A saved encoder, by CTranslate2.

    Args:
        cache: a folder for conversions: each is made and checked once for equal files.
    Raises:
        Unconvertible: saying why.
        InputError: for a conversion that is damaged.
    """
    for source in read_spec(folder).folders(folder).values():
        kind = read_json(source / "config.json").get("model_type")
        if kind not in CONVERTIBLE:
            raise Unconvertible(f"it knows no encoder of the type {kind}")
    code = Path(__file__)
    inputs = fingerprint([folder, code, code.with_name("converted.py")])[:16]
    made = cache / f"{inputs}-{version('ctranslate2')}-{version('transformers')}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{made}.lock"):  # another stage may be converting the same
        if not made.exists():
            with new_folder(made) as partial:
                _convert(folder, partial)
    try:
        encoder = ConvertedEncoder(made, format, threads)
        exact = encoder if format == "fp32" else ConvertedEncoder(made, "fp32", threads)
    except (InputError, RuntimeError) as error:
        raise InputError(f"{made}: a damaged conversion ({error}); delete the folder") from None
    if format != "fp32":
        _require_near(encoder, exact, Tokenizer.open(folder), format)
    return encoder


def _convert(folder: Path, made: Path) -> None:
    # Here, since both load transformers, which a conversion that is made does not need.
    from ctranslate2.converters import TransformersConverter

    from dpr.encoders import checkpoint

    encoder = checkpoint.load(folder, "float32")
    sources, targets = (encoder.spec.folders(of) for of in (folder, made))
    try:
        for role, source in sources.items():
            if not (targets[role] / "model.bin").exists():  # tied: one transformer for both roles
                with TemporaryDirectory() as copy:
                    _link(source, sources["passage"], Path(copy))
                    TransformersConverter(copy).convert(str(targets[role]), force=True)
        # Afterwards, since the converter empties its folder.
        write_json(made / SPEC_FILE, encoder.spec.as_dict())
        write_json(made / DIMENSION_FILE, encoder.dimension)
        converted = ConvertedEncoder(made, "fp32", threads=1)
        _require_near(converted, encoder, Tokenizer.open(folder), "fp32")
    except CONVERSION_ERRORS as error:
        raise Unconvertible(str(error)) from None


def _link(source: Path, tokenizer: Path, folder: Path) -> None:
    """The files of a transformer and of the tokenizer, with a key that the converter wants.

    transformers 5 no longer writes it, since it knows no other value. Both roles have the tokenizer
    of passages, as everywhere.
    """
    tokens = (path for path in tokenizer.iterdir() if ".safetensors" not in path.name)
    for file in (*source.glob("*.safetensors*"), *tokens):
        if file.is_file() and file.name != "config.json":
            (folder / file.name).symlink_to(file.resolve())
    config = read_json(source / "config.json")
    write_json(folder / "config.json", {"position_embedding_type": "absolute"} | config)


def _require_near(encoder: Computes, exact: Computes, tokenizer: Tokenizer, format: Format) -> None:
    for role in ROLES:
        tokens = tokenizer.tokenize(PROBE, role)
        ours, theirs = (one.embed(tokens, role, 1024) for one in (encoder, exact))
        norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        least = ((ours * theirs).sum(axis=1) / norms).min()
        if not least >= LEAST_COSINE[format]:
            raise Unconvertible(
                f"in {format} its vectors have a cosine of {least:.4f} to exact ones"
            )
