"""Reading a transformer from a folder or the hub: without running its code, and all weights."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

# Raised by transformers for a model that is missing, damaged or of an unknown kind.
LOAD_ERRORS = (OSError, ValueError, KeyError, RuntimeError, SafetensorError, UnpicklingError)

transformers_logging.disable_progress_bar()


def read_transformer(
    source: str | Path,
    pooling: str,
    revision: str | None = None,
    dtype: str | torch.dtype = "float32",
) -> PreTrainedModel:
    """The transformer of a folder or hub id; of a T5, its encoder.

    Args:
        revision: commit, branch or tag of a hub model; None: the newest.
        dtype: of the weights; "auto" is the saved one.

    Raises:
        ValueError: for missing weights, which transformers would initialize at random.
    """
    config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    if hasattr(config, "use_cache"):
        config.use_cache = False  # of keys and values, for generation
    encoder_alone = type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING
    backbone, report = (AutoModelForTextEncoding if encoder_alone else AutoModel).from_pretrained(
        source,
        config=config,
        revision=revision,
        dtype=dtype,
        trust_remote_code=False,
        weights_only=True,
        output_loading_info=True,
    )
    missing = sorted(
        name for name in report["missing_keys"] if pooling == "pooler" or "pooler" not in name
    )
    if missing:
        raise ValueError(f"{len(missing)} weights are missing, {missing[0]} among them")
    return backbone
