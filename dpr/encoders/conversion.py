"""Converting an encoder for CTranslate2, once: BERT, DistilBERT, RoBERTa and XLM-R.

int8: weights are quantized by output channel once, activations by token at each matrix product.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import ctranslate2
import numpy as np
from filelock import FileLock

from dpr.base.files import fingerprint, new_folder, read_json, write_json
from dpr.encoders.converted import DIMENSION_FILE, TYPES, ConvertedEncoder
from dpr.encoders.formats import Format
from dpr.encoders.spec import SPEC_FILE, Role
from dpr.encoders.tokens import Tokenizer

# What the converter and the library raise for a model that they do not know.
CONVERSION_ERRORS = (ValueError, NotImplementedError, KeyError, AttributeError, RuntimeError)
# A conversion whose vectors have a lower cosine to torch's is refused: another model than it says,
# or one whose activations int8 cannot hold.
LEAST_COSINE = {"fp32": 0.9999, "int8": 0.95}
PROBE = [
    "Dense retrieval compares the vectors of a query and a passage.",
    "heart failure",
    "Thirty-two patients with hypertension were followed for five years; 12 of them died.",
]


class Unconvertible(Exception):
    """A model that CTranslate2 does not know, or does not compute as torch does."""


def converted(folder: Path, format: Format, cache: Path) -> Path:
    """The conversion of a saved encoder: made and checked once for equal files, kept in `cache`.

    Raises:
        Unconvertible: saying why.
    """
    name = f"{fingerprint([folder])[:16]}-{format}-{ctranslate2.__version__}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{name}.lock"):  # another stage may be converting the same
        if not (cache / name).exists():
            try:
                with new_folder(cache / name) as made:
                    _convert(folder, format, made)
            except CONVERSION_ERRORS as error:
                raise Unconvertible(str(error)) from None
    return cache / name


def _convert(folder: Path, format: Format, made: Path) -> None:
    # Here, since both load transformers, which a conversion that is made does not need.
    from ctranslate2.converters import TransformersConverter

    from dpr.encoders import checkpoint

    encoder = checkpoint.load(folder)
    targets = encoder.spec.folders(made)
    for role, source in encoder.spec.folders(folder).items():
        if not (targets[role] / "model.bin").exists():  # tied: one transformer for both roles
            with TemporaryDirectory() as copy:
                _link(source, Path(copy))
                converter = TransformersConverter(copy)
                converter.convert(str(targets[role]), quantization=TYPES[format], force=True)
    write_json(made / SPEC_FILE, encoder.spec.as_dict())
    write_json(made / DIMENSION_FILE, encoder.dimension)

    ours, tokenizer = ConvertedEncoder(made, format, threads=1), Tokenizer.open(folder)
    roles: tuple[Role, ...] = ("query", "passage")
    for role in roles:
        tokens = tokenizer.tokenize(PROBE, role)
        theirs = encoder.embed(tokens, role, 1024, "fp32")
        least = _cosines(ours.embed(tokens, role, 1024), theirs).min()
        if not least >= LEAST_COSINE[format]:
            raise Unconvertible(f"in {format} its vectors have a cosine of {least:.4f} to torch's")


def _link(source: Path, folder: Path) -> None:
    """The files of a transformer, with a key that the converter wants.

    transformers 5 no longer writes it, since it knows no other value.
    """
    for file in source.iterdir():
        if file.is_file() and file.name != "config.json":
            (folder / file.name).symlink_to(file.resolve())
    config = read_json(source / "config.json")
    write_json(folder / "config.json", {"position_embedding_type": "absolute"} | config)


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
