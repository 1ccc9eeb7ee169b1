"""Reading a transformer and its tokenizer from a folder or the hub: safely, and whole."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

# Whatever transformers raises for a model that is missing, damaged or of an unknown kind.
LOAD_ERRORS = (OSError, ValueError, KeyError, RuntimeError, SafetensorError, UnpicklingError)

transformers_logging.disable_progress_bar()


def read_tokenizer(source: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)


def read_transformer(
    source: str | Path, pooling: str, revision: str | None = None
) -> PreTrainedModel:
    """The float32 transformer of a folder or hub id; no code of the model is run.

    Args:
        revision: commit, branch or tag of a hub model; None: the newest.

    Raises:
        ValueError: for missing weights, which transformers would draw at random.
    """
    backbone, report = AutoModel.from_pretrained(
        source,
        revision=revision,
        dtype=torch.float32,
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
