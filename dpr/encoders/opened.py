"""A model, opened: the modules of each role, with the pooling of params.yaml, and its record."""

import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding

from dpr.base.errors import InputError
from dpr.encoders.checkpoint import SIMILARITY_NAMES, TASKS, load_model, side_modules
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
from dpr.encoders.spec import ROLES, SPEC_FILE, Role
from dpr.encoders.tokenizer_files import complete
from dpr.settings import ModelSettings

SIMILARITIES = {theirs: name for name, theirs in SIMILARITY_NAMES.items()}
POOLINGS = {"last": "lasttoken"}  # names that differ in sentence-transformers
VECTOR = "sentence_embedding"  # as modules name it


class Opened(NamedTuple):
    """The modules of each role, and what a model records. `key` is the model's in params.yaml."""

    key: str
    name: str
    modules: dict[Role, list[Any]]  # one list for both roles, if these have one encoder
    similarity: str
    lineage: tuple[str, ...]
    prompts: dict[str, str]  # by name, none empty
    default_prompt: str | None = None


def open_model(
    key: str, name: str, revision: str | None, settings: ModelSettings, notes: list[str]
) -> Opened:
    """A model by name; `key` is its parameter. Notes get what the settings replace.

    Raises:
        InputError: for a model that cannot be loaded, or does not fit the settings.
    """
    try:
        folder = locate(name, revision)
        model, modules, plain = _load(folder, settings)
    except UnusableModel as error:
        raise parameter_error(key, f"{name!r}: {error}") from None
    except UnpicklingError:
        bad = f"{name!r}: pytorch_model.bin has more than weights, and may run code"
        raise parameter_error(key, f"{bad}; take a model with safetensors") from None
    except Exception as error:  # the libraries raise all kinds for damaged files
        reason = (str(error) or repr(error)).splitlines()[0]
        raise parameter_error(
            key,
            f"cannot load {name!r}: {reason}\nGive a local folder of a complete model, the id of a "
            f"model on a hub within reach, or a packaged model: {', '.join(PACKAGED)}",
        ) from None
    for weights, value in model.named_parameters():
        if not value.isfinite().all():
            raise parameter_error(key, f"{name!r}: its weights {weights} have NaN or infinity")
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
        SIMILARITIES[str(model.similarity_fn_name)],
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
    folder: Path, settings: ModelSettings
) -> tuple[SentenceTransformer, dict[Role, list[Any]], bool]:
    """The model, the modules of each role, and whether it is a transformer without a record."""
    with prepared(folder) as whole:
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


def parameter_error(key: str, message: str) -> InputError:
    return InputError(f"params.yaml: model.{key}: {message}")


def _transformer_alone(opened: Opened) -> Opened:
    first = opened.modules["passage"][0]
    if not isinstance(first, Transformer):
        raise parameter_error(
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
            raise parameter_error(
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
        complete(first.tokenizer, folder, first.do_lower_case, settings.append_eos)
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
        raise parameter_error("pooling", "a static embedding model has none; set it to null")
    old = layers.pop(place) if place is not None else None
    if wanted == "pooler":
        if not hasattr(getattr(first.model, "pooler", None), "dense"):
            raise parameter_error("pooling", "this model has no pooler; take a different pooling")
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
