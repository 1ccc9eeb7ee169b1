"""The folder layout of sentence-transformers, written without that library.

`SentenceTransformer(folder)` loads it and gives the same vectors; a tied encoder has one length
there, the passages'. Tied: the transformer lies in
the folder itself. Separate: in `query/` and `passage/`, behind a Router, which `encode_query` and
`encode_document` follow.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerBase
from transformers.utils import cached_file

from dpr.encoder import DualEncoder, Role
from dpr.files import write_json

SIMILARITY_NAMES = {"cosine": "cosine", "dot": "dot", "l2": "euclidean", "l1": "manhattan"}


def transformer_folders(folder: Path, tied: bool) -> tuple[Path, Path]:
    """Where the query's and the passage's transformer lie."""
    return (folder, folder) if tied else (folder / "query", folder / "passage")


class Modules(NamedTuple):
    """What a sentence-transformers model records of itself."""

    pooling: str
    normalize: bool
    similarity: str | None


def read_modules(source: str) -> Modules | None:
    """Pooling and normalisation of a local folder or hub model; None where it records none.

    Raises:
        ValueError: for modules that this project cannot follow.
    """
    path = _file(source, "modules.json")
    if path is None:
        return None
    modules = json.loads(Path(path).read_text(encoding="utf-8"))
    kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= {"Dense", "Normalize"}:
        raise ValueError(f"its modules are {kinds}; set model.respect_modules to false")
    settings = json.loads(
        Path(_file(source, f"{modules[1]['path']}/config.json")).read_text(encoding="utf-8")
    )
    pooling = settings.get("pooling_mode") or _pooling_of_flags(settings)
    if "Dense" in kinds:
        if pooling != "cls" or not _is_pooler(source, modules[kinds.index("Dense")]["path"]):
            raise ValueError("it has a Dense module; set model.respect_modules to false")
        pooling = "pooler"
    return Modules(pooling, "Normalize" in kinds, _similarity(source))


def _similarity(source: str) -> str | None:
    path = _file(source, "config_sentence_transformers.json")
    name = path and json.loads(Path(path).read_text(encoding="utf-8")).get("similarity_fn_name")
    ours = {theirs: ours for ours, theirs in SIMILARITY_NAMES.items()}
    return ours.get(name, name) or None


def _file(source: str, name: str) -> str | None:
    return cached_file(
        source,
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )


def _pooling_of_flags(settings: dict[str, Any]) -> str:
    flags = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
    chosen = [key for key in settings if key.startswith("pooling_mode_") and settings[key]]
    named = [name for name, flag in flags.items() if chosen == [f"pooling_mode_{flag}"]]
    return named[0] if named else "+".join(chosen)


def _is_pooler(source: str, path: str) -> bool:
    """Whether a Dense module is the transformer's own pooler, as `write` saves it."""
    files = [_file(source, f"{path}/model.safetensors"), _file(source, "model.safetensors")]
    if None in files:
        return False
    dense, own = map(load_file, files)
    weight = own.get("pooler.dense.weight")
    return weight is not None and torch.equal(weight, dense["linear.weight"])


def write(encoder: DualEncoder, folder: Path) -> None:
    if encoder.spec.tied:
        _save_transformer(encoder, "passage", folder)
        modules = [("Transformer", ""), *_save_head(encoder, "passage", folder)]
    else:
        routes = {}
        for role, route in (("query", "query"), ("passage", "document")):
            _save_transformer(encoder, role, folder / role)
            head = _save_head(encoder, role, folder, prefix=f"{role}_")
            routes[route] = [("Transformer", role), *head]
        _save_router(routes, folder)
        modules = [("Router", "")]
    rows = [
        {"idx": i, "name": str(i), "path": path, "type": _module_type(kind)}
        for i, (kind, path) in enumerate(modules)
    ]
    write_json(folder / "modules.json", rows)
    name = encoder.spec.similarity
    about = {
        "model_type": "SentenceTransformer",
        "similarity_fn_name": SIMILARITY_NAMES[name],
        "prompts": {
            "query": encoder.spec.query_prefix,
            "document": encoder.spec.passage_prefix,
        },
    }
    write_json(folder / "config_sentence_transformers.json", about)


def _save_transformer(encoder: DualEncoder, role: Role, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    backbone = getattr(encoder, role).backbone
    backbone.save_pretrained(folder)
    # Where an encoder was read from says nothing about what it is, and would name this machine.
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    write_json(folder / "config.json", config)
    max_length = encoder.spec.max_length(role)
    _save_tokenizer(encoder.tokenizer, max_length, folder)
    write_json(
        folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False}
    )


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, max_length: int, folder: Path) -> None:
    tokenizer.backend_tokenizer.no_truncation()  # what a call left behind is not saved
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for key in ("is_local", "local_files_only", "name_or_path", "max_length"):
        config.pop(key, None)
    write_json(path, config | {"model_max_length": max_length})


def _save_head(
    encoder: DualEncoder, role: Role, folder: Path, prefix: str = ""
) -> list[tuple[str, str]]:
    """What follows the transformer: (kind, path) of each module, in order."""
    spec, dimension = encoder.spec, encoder.dimension
    head = [("Pooling", f"{prefix}1_Pooling")]
    mode = "cls" if spec.pooling == "pooler" else spec.pooling
    pooling = {
        "word_embedding_dimension": dimension,
        "pooling_mode_cls_token": mode == "cls",
        "pooling_mode_mean_tokens": mode == "mean",
        "pooling_mode_max_tokens": mode == "max",
    }
    write_json(folder / head[-1][1] / "config.json", pooling)
    if spec.pooling == "pooler":  # as a Dense layer with tanh over [CLS]
        head.append(("Dense", f"{prefix}2_Dense"))
        dense = folder / head[-1][1]
        write_json(
            dense / "config.json",
            {
                "in_features": dimension,
                "out_features": dimension,
                "bias": True,
                "activation_function": "torch.nn.modules.activation.Tanh",
            },
        )
        layer = getattr(encoder, role).backbone.pooler.dense
        weights = {"linear.weight": layer.weight.data, "linear.bias": layer.bias.data}
        save_file(
            {k: v.contiguous().cpu() for k, v in weights.items()}, dense / "model.safetensors"
        )
    if encoder.similarity.normalize:
        head.append(("Normalize", f"{prefix}{len(head) + 1}_Normalize"))
        (folder / head[-1][1]).mkdir()
        write_json(folder / head[-1][1] / "config.json", {})
    return head


def _save_router(routes: dict[str, list[tuple[str, str]]], folder: Path) -> None:
    write_json(
        folder / "router_config.json",
        {
            "types": {
                path: _module_type(kind) for route in routes.values() for kind, path in route
            },
            "structure": {name: [path for _, path in route] for name, route in routes.items()},
            "parameters": {"default_route": "document", "allow_empty_key": True},
        },
    )


def _module_type(kind: str) -> str:
    return f"sentence_transformers.models.{kind}"
