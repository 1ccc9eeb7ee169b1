"""The encoder before training: a model by name, with the settings that params.yaml gives.

A setting of null takes what the model records: pooling, similarity, prompts, lengths, and whether
both roles have one encoder.
"""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from dpr.base.errors import InputError
from dpr.encoders.checkpoint import assemble
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.opened import Opened, open_model, parameter_error
from dpr.encoders.spec import LENGTHS, ROLES, EncoderSpec, Role, Side
from dpr.encoders.tokens import Tokens
from dpr.settings import ModelSettings

# Prompts that a model records for a role; the first that is not empty counts. (`encode_document`
# of sentence-transformers 6 loses one that is named "passage".)
PROMPTS = {"query": ["query"], "passage": ["document", "passage", "corpus"]}
UNLIMITED = 10**6  # tokens; transformers writes 10^30 for no limit
TRIED = 2048  # tokens of the longest trial; above it, the recorded positions count


def pretrained(
    settings: ModelSettings, similarity: str | None = None
) -> tuple[DualEncoder, list[str]]:
    """The encoder, and notes on what it takes from the model's record and what it replaces.

    Raises:
        InputError: for a model that cannot be loaded, or that does not fit the settings.
    """
    notes: list[str] = []
    passages = open_model("name", settings.name, settings.revision, settings, notes)
    queries = passages
    if settings.query_name is not None:
        if settings.tied:
            raise parameter_error("query_name", "set model.tied to null or false for it")
        queries = open_model(
            "query_name", settings.query_name, settings.query_revision, settings, notes
        )
    opened: dict[Role, Opened] = {"query": queries, "passage": passages}
    modules = {role: opened[role].modules[role] for role in ROLES}
    one = modules["query"] is modules["passage"]
    if settings.tied and not one:
        raise parameter_error(
            "tied", f"{settings.name!r} has an encoder for each role; set null or false"
        )
    if settings.tied is False and one:
        modules["query"] = copy.deepcopy(modules["query"])
    if similarity not in (None, passages.similarity):
        notes.append(f"similarity {similarity}; the model records {passages.similarity}")
    sides = {role: _side(opened[role], role, settings, notes) for role in ROLES}
    tied = one and settings.tied is not False
    similarity = similarity or passages.similarity
    spec = EncoderSpec(similarity, tied, **sides, lineage=passages.lineage)
    encoder = assemble(modules, spec)
    if encoder.query.dimension != encoder.passage.dimension:
        raise parameter_error("query_name", f"not the dimension of {settings.name!r}")
    sides = {role: _with_length(encoder, opened[role], role, settings) for role in ROLES}
    encoder.spec = replace(spec, query=sides["query"], passage=sides["passage"])
    for role in ROLES:
        _try_longest(encoder, role, opened[role])
    return encoder, notes


def _side(opened: Opened, role: Role, settings: ModelSettings, notes: list[str]) -> Side:
    """The side of a role with its prefix; of a static model also its recorded length."""
    layers, prompts = opened.modules[role], opened.prompts
    first = layers[0]
    prefix = settings.query_prefix if role == "query" else settings.passage_prefix
    name = settings.query_prompt if role == "query" else settings.passage_prompt
    if name is not None and name not in prompts:
        raise parameter_error(f"{role}_prompt", f"{opened.name!r} records the prompts {[*prompts]}")
    names = [name] if name else [*PROMPTS[role], opened.default_prompt]
    taken = next((name for name in names if name in prompts), None)
    if prefix is None:
        prefix = prompts[taken] if taken else ""
    elif taken and prefix != prompts[taken]:
        notes.append(f"{role} prefix {prefix!r}; the model records {prompts[taken]!r}")
    if prompts:
        rest = [name for name in prompts if name != taken]
        source = f" (its {taken!r})" if taken and prefix == prompts[taken] else ""
        notes.append(f"{role} prompt {prefix!r}{source}; further recorded prompts: {rest}")
    static = isinstance(first, StaticEmbedding)
    truncation: Any = "right" if static else first.tokenizer.truncation_side
    included = not any(getattr(layer, "include_prompt", True) is False for layer in layers)
    recorded = first.tokenizer.truncation if static else None
    length = recorded["max_length"] if recorded else None
    return Side(length, prefix, truncation, special_tokens=not static, include_prompt=included)


def _with_length(encoder: DualEncoder, opened: Opened, role: Role, settings: ModelSettings) -> Side:
    """The side with its length: the setting, else the recorded length less the prompt's tokens."""
    side, first = encoder.spec.side(role), encoder.side(role).first
    key = f"{role}_max_length"
    query = role == "query"
    given = settings.query_max_length if query else settings.passage_max_length
    length = given
    prompt = encoder.tokenizer.prefix_tokens(role)
    if given is None and isinstance(first, Transformer):
        recorded = getattr(first, LENGTHS[role]) or first.max_seq_length
        if recorded is None or recorded >= UNLIMITED:
            raise parameter_error(key, f"{opened.name!r} records no length; set one, such as 512")
        length = recorded - prompt
    elif given is None and side.max_length is not None:
        length = side.max_length - prompt
    if length is not None:
        special = first.tokenizer.num_special_tokens_to_add() if side.special_tokens else 0
        if length <= special:
            cure = f"shorten model.{role}_prefix" if given is None else "set more"
            raise parameter_error(
                key,
                f"{length} tokens have no room beside the {special} that {opened.name!r} adds to "
                f"each text; {cure}",
            )
    return replace(side, max_length=length)


def _try_longest(encoder: DualEncoder, role: Role, opened: Opened) -> None:
    """Encode one text of the maximum length, so that a model that cannot take it fails now."""
    limit = encoder.tokenizer.limit(role)
    first = encoder.side(role).first
    config = getattr(getattr(first, "model", None), "config", None)
    positions = getattr(config, "max_position_embeddings", None)
    longest = limit or 1
    if longest > TRIED and not (positions and longest > positions):
        longest = TRIED
    short = encoder.tokenize(["text"], role)[0]
    try:
        vectors = _encode_trial(encoder, role, short)
    except Exception as error:  # the libraries raise all kinds
        reason = (str(error) or repr(error)).splitlines()[0]
        raise parameter_error(
            opened.key, f"{opened.name!r} cannot encode a text: {reason}"
        ) from None
    try:
        _encode_trial(encoder, role, short[-1:].repeat(longest))
    except Exception as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise InputError(
            f"params.yaml: model.{role}_max_length: {opened.name!r} cannot take {longest} tokens, "
            f"a prompt included (it has {positions} positions); set fewer: {reason}"
        ) from None
    if not np.isfinite(vectors).all():
        raise parameter_error(opened.key, f"{opened.name!r} gives vectors with NaN or infinity")


def _encode_trial(encoder: DualEncoder, role: Role, tokens: Tokens) -> np.ndarray:
    return encoder.eval().embed([tokens], role, 1)
