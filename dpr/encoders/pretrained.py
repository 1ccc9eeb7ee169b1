"""The encoder before training: a model by name, with the settings that params.yaml gives.

A setting of null takes what the model records: pooling, similarity, prompts, lengths, and whether
both roles have one encoder.
"""

import copy
import warnings
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding

from dpr.base.errors import InputError
from dpr.encoders.checkpoint import SIMILARITY_NAMES, TASKS, assemble, load_model, side_modules
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.model_folder import (
    ADAPTER,
    PACKAGED,
    UnusableModel,
    locate,
    module_folders,
    prepared,
    read_object,
    refuse,
)
from dpr.encoders.spec import LENGTHS, ROLES, SPEC_FILE, EncoderSpec, Role, Side
from dpr.encoders.tokenizer_files import as_filed
from dpr.encoders.tokens import Tokens
from dpr.settings import ModelSettings

# Prompts that a model records for a role; the first that is not empty counts. (`encode_document`
# of sentence-transformers 6 loses one that is named "passage".)
PROMPTS = {"query": ["query"], "passage": ["document", "passage", "corpus"]}
POOLINGS = {"last": "lasttoken"}  # names that differ in sentence-transformers
_OURS = {theirs: name for name, theirs in SIMILARITY_NAMES.items()}
VECTOR = "sentence_embedding"  # as modules name it
UNLIMITED = 10**6  # tokens; transformers writes 10^30 for no limit
TRIED = 2048  # tokens of the longest trial; above it, the recorded positions count


class Opened(NamedTuple):
    """The modules of each role, and what a model records. `key` is the model's in params.yaml."""

    key: str
    name: str
    modules: dict[Role, list[Any]]  # one list for both roles, if these have one encoder
    similarity: str
    lineage: tuple[str, ...]
    prompts: dict[str, str]  # by name, none empty
    default_prompt: str | None = None


def pretrained(
    settings: ModelSettings, similarity: str | None = None
) -> tuple[DualEncoder, list[str]]:
    """The encoder, and notes on what it takes from the model's record and what it replaces.

    Raises:
        InputError: for a model that cannot be loaded, or that does not fit the settings.
    """
    notes: list[str] = []
    passages = _open("name", settings.name, settings.revision, settings, notes)
    queries = passages
    if settings.query_name is not None:
        if settings.tied:
            raise _error("query_name", "set model.tied to null or false for it")
        queries = _open("query_name", settings.query_name, settings.query_revision, settings, notes)
    opened: dict[Role, Opened] = {"query": queries, "passage": passages}
    modules = {role: opened[role].modules[role] for role in ROLES}
    one = modules["query"] is modules["passage"]
    if settings.tied and not one:
        raise _error("tied", f"{settings.name!r} has an encoder for each role; set null or false")
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
        raise _error("query_name", f"not the dimension of {settings.name!r}")
    sides = {role: _with_length(encoder, opened[role], role, settings) for role in ROLES}
    encoder.spec = replace(spec, query=sides["query"], passage=sides["passage"])
    for role in ROLES:
        _try_longest(encoder, role, opened[role])
    return encoder, notes


def _open(
    key: str, name: str, revision: str | None, settings: ModelSettings, notes: list[str]
) -> Opened:
    try:
        folder = locate(name, revision)
        try:
            model, modules, plain = _load(folder, settings)
        except UnusableModel:
            raise
        except (TypeError, ValueError):  # a class of tokenizers that does not fit the file
            model, modules, plain = _load(folder, settings, plain_tokenizer=True)
    except UnusableModel as error:
        raise _error(key, f"{name!r}: {error}") from None
    except UnpicklingError:
        bad = f"{name!r}: pytorch_model.bin has more than weights, and may run code"
        raise _error(key, f"{bad}; take a model with safetensors") from None
    except Exception as error:  # the libraries raise all kinds for damaged files
        reason = (str(error) or repr(error)).splitlines()[0]
        raise _error(
            key,
            f"cannot load {name!r}: {reason}\nGive a local folder of a complete model, the id of a "
            f"model on a hub within reach, or a packaged model: {', '.join(PACKAGED)}",
        ) from None
    for weights, value in model.named_parameters():
        if not value.isfinite().all():
            raise _error(key, f"{name!r}: its weights {weights} have NaN or infinity")
    if plain:
        notes.append(f"pooling {_our_pooling(model[1].pooling_mode)}; {name!r} records none")
    if name.startswith("hkunlp/instructor"):  # sentence-transformers knows it by its name
        model.set_pooling_include_prompt(False)
    if (read_object(folder / "config.json") or {}).get("auto_map"):
        notes.append("the model comes with code of its own, which is not run; check its vectors")
    if model.truncate_dim:
        notes.append(f"all components of a vector; the model records {model.truncate_dim}")
    opened = Opened(
        key,
        name,
        modules,
        _OURS[str(model.similarity_fn_name)],
        tuple((read_object(folder / SPEC_FILE) or {}).get("lineage") or [_public(name)]),
        {prompt: text for prompt, text in model.prompts.items() if text},
        model.default_prompt_name,
    )
    if not settings.respect_modules:
        opened = _transformer_alone(opened)
    for layers in {id(layers): layers for layers in opened.modules.values()}.values():
        _set_pooling(layers, settings, notes)
        _require_sizes(layers, key, name)
    return opened


def _public(name: str) -> str:
    """A name that says nothing of this machine: of a local folder, its last part."""
    return Path(name).resolve().name if Path(name).expanduser().is_dir() else name


def _load(
    folder: Path, settings: ModelSettings, plain_tokenizer: bool = False
) -> tuple[SentenceTransformer, dict[Role, list[Any]], bool]:
    """The model, the modules of each role, and whether it is a transformer without a record."""
    with prepared(folder, plain_tokenizer) as whole:
        refuse(whole)
        pooler = settings.pooling == "pooler"
        model = load_model(whole, getattr(torch, settings.dtype), pooler)
        plain = not (whole / "modules.json").exists()
        first_modules = [module_folders(whole, model, TASKS[role])[0] for role in ROLES]
        modules = side_modules(whole, model)
        if (folder / ADAPTER).exists():
            _merge_adapter(model, folder)
        for layers in modules.values():
            _require_text(layers[0], plain)
        _set_tokenizers(first_modules, settings)
    if [*map(id, modules["query"])] == [*map(id, modules["passage"])]:
        modules["query"] = modules["passage"]
    return model, modules, plain


def _error(key: str, message: str) -> InputError:
    return InputError(f"params.yaml: model.{key}: {message}")


def _transformer_alone(opened: Opened) -> Opened:
    first = opened.modules["passage"][0]
    if not isinstance(first, Transformer):
        raise _error(
            "respect_modules", f"{opened.name!r} has no transformer to take alone; set true"
        )
    layers = [first, Pooling(first.get_embedding_dimension(), "mean")]
    return Opened(
        opened.key, opened.name, {role: layers for role in ROLES}, "cosine", opened.lineage, {}
    )


def _merge_adapter(model: Any, folder: Path) -> None:
    """Add an adapter's matrices to the weights of its base."""
    import peft  # here, since it loads slowly

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*missing adapter keys")
        adapted: Any = peft.PeftModel.from_pretrained(model[0].model, str(folder))
    model[0].model = adapted.merge_and_unload()


def _require_text(first: Any, plain: bool) -> None:
    """Refuse a first module that does not read plain texts.

    A plain transformer may also read chat messages or images; here it reads texts.
    """
    if isinstance(first, StaticEmbedding):
        return
    if not isinstance(first, Transformer) or "text" not in first.modalities:
        raise UnusableModel(f"its {type(first).__name__} does not encode text; take a text encoder")
    if "message" in first.modalities and not plain:
        raise UnusableModel(
            "it encodes chat messages, made by a chat template; set model.respect_modules to "
            "false to encode plain texts, and give its prompt as model.query_prefix"
        )
    first.modality_config = {"text": first.modality_config["text"]}


def _require_sizes(layers: list[Any], key: str, name: str) -> None:
    """Refuse a Dense or LayerNorm module that takes vectors of a different size."""
    size = None
    for layer in layers:
        takes = getattr(layer, "in_features" if isinstance(layer, Dense) else "dimension", size)
        if takes != size and getattr(layer, "module_input_name", VECTOR) == VECTOR:
            raise _error(
                key,
                f"{name!r}: its {type(layer).__name__} takes vectors of {takes} numbers, but gets "
                f"{size}; check model.pooling and the config.json of its modules",
            )
        if hasattr(layer, "get_embedding_dimension"):
            size = layer.get_embedding_dimension()


def _set_tokenizers(first_modules: list[tuple[Any, Path]], settings: ModelSettings) -> None:
    """Give each transformer the tokenizer that its folder has."""
    for first, folder in {id(first): (first, folder) for first, folder in first_modules}.values():
        if not isinstance(first, Transformer) or first.tokenizer is None:
            continue
        eos = settings.append_eos
        first.processor = as_filed(first.tokenizer, folder, first.do_lower_case, eos)
        known = first.model.get_input_embeddings().num_embeddings
        padding = first.tokenizer.pad_token_id
        if padding is None or padding >= known:
            raise UnusableModel(
                "its tokenizer has no padding token that the model knows; in "
                "tokenizer_config.json of a local folder, set pad_token to a token of the "
                f"vocabulary, such as the EOS token ({first.tokenizer.eos_token})"
            )


def _set_pooling(layers: list[Any], settings: ModelSettings, notes: list[str]) -> None:
    """Replace the recorded pooling by the one that params.yaml gives."""
    wanted = settings.pooling and POOLINGS.get(settings.pooling, settings.pooling)
    place = next((i for i, layer in enumerate(layers) if isinstance(layer, Pooling)), None)
    recorded = "none" if place is None else layers[place].pooling_mode
    if wanted in (None, recorded):
        return
    first = layers[0]
    if not isinstance(first, Transformer):
        raise _error("pooling", "a static embedding model has none; set it to null")
    old = layers.pop(place) if place is not None else None
    if wanted == "pooler":
        if not hasattr(getattr(first.model, "pooler", None), "dense"):
            raise _error("pooling", "this model has no pooler; take a different pooling")
        _set_output(first, "sentence_embedding", "pooler_output")
    else:
        size = old.embedding_dimension if old else first.get_embedding_dimension()
        include_prompt = old.include_prompt if old else True
        layers.insert(place or 1, Pooling(size, wanted, include_prompt))
        if old is None:
            _set_output(first, "token_embeddings", "last_hidden_state")
    notes.append(f"pooling {settings.pooling}; the model records {_our_pooling(recorded)}")


def _set_output(first: Any, name: str, output: str) -> None:
    first.module_output_name = name
    first.modality_config = {"text": {"method": "forward", "method_output_name": output}}


def _our_pooling(name: Any) -> str:
    modes = [name] if isinstance(name, str) else name
    ours = {theirs: ours for ours, theirs in POOLINGS.items()}
    return " + ".join(ours.get(mode, mode) for mode in modes)


def _side(opened: Opened, role: Role, settings: ModelSettings, notes: list[str]) -> Side:
    """The side of a role with its prefix; of a static model also its recorded length."""
    layers, prompts = opened.modules[role], opened.prompts
    first = layers[0]
    prefix = settings.query_prefix if role == "query" else settings.passage_prefix
    name = settings.query_prompt if role == "query" else settings.passage_prompt
    if name is not None and name not in prompts:
        raise _error(f"{role}_prompt", f"{opened.name!r} records the prompts {[*prompts]}")
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
            raise _error(key, f"{opened.name!r} records no length; set one, such as 512")
        length = recorded - prompt
    elif given is None and side.max_length is not None:
        length = side.max_length - prompt
    if length is not None:
        special = first.tokenizer.num_special_tokens_to_add() if side.special_tokens else 0
        if length <= special:
            cure = f"shorten model.{role}_prefix" if given is None else "set more"
            raise _error(
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
        raise _error(opened.key, f"{opened.name!r} cannot encode a text: {reason}") from None
    try:
        _encode_trial(encoder, role, short[-1:].repeat(longest))
    except Exception as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise InputError(
            f"params.yaml: model.{role}_max_length: {opened.name!r} cannot take {longest} tokens, "
            f"a prompt included (it has {positions} positions); set fewer: {reason}"
        ) from None
    if not np.isfinite(vectors).all():
        raise _error(opened.key, f"{opened.name!r} gives vectors with NaN or infinity")


def _encode_trial(encoder: DualEncoder, role: Role, tokens: Tokens) -> np.ndarray:
    return encoder.eval().embed([tokens], role, 1)
