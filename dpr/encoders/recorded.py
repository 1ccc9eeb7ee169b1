"""What a sentence-transformers model records about itself: pooling, normalization, similarity."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from transformers.utils import cached_file

# Our name -> sentence-transformers' flag (pooling) or name (similarity).
POOLING_FLAGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
}
SIMILARITY_NAMES = {"cosine": "cosine", "dot": "dot", "l2": "euclidean", "l1": "manhattan"}


class Recorded(NamedTuple):
    pooling: str
    normalize: bool
    similarity: str | None  # None if it records none


def read_modules(source: str) -> Recorded | None:
    """The record of a local folder or hub model; None for a model that has none.

    Raises:
        ValueError: for modules that this project has no equivalent of.
    """
    path = _file(source, "modules.json")
    if path is None:
        return None
    modules = _json(path)
    kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= {"Dense", "Normalize"}:
        raise ValueError(f"its modules are {kinds}; set model.respect_modules to false")
    pooling_file = _file(source, f"{modules[1]['path']}/config.json")
    if pooling_file is None:
        raise ValueError("its Pooling module has no config.json")
    settings = _json(pooling_file)
    pooling = settings.get("pooling_mode") or _pooling_of_flags(settings)
    if "Dense" in kinds:
        if pooling != "cls" or not _is_pooler(source, modules[kinds.index("Dense")]["path"]):
            raise ValueError("it has a Dense module; set model.respect_modules to false")
        pooling = "pooler"
    return Recorded(pooling, "Normalize" in kinds, _similarity(source))


def _similarity(source: str) -> str | None:
    path = _file(source, "config_sentence_transformers.json")
    name = _json(path).get("similarity_fn_name") if path else None
    if not name:
        return None
    return {theirs: ours for ours, theirs in SIMILARITY_NAMES.items()}.get(name, name)


def _pooling_of_flags(settings: dict[str, Any]) -> str:
    chosen = [key for key in settings if key.startswith("pooling_mode_") and settings[key]]
    ours = [name for name, flag in POOLING_FLAGS.items() if chosen == [flag]]
    return ours[0] if ours else "+".join(chosen)


def _is_pooler(source: str, path: str) -> bool:
    """Whether a Dense module is the transformer's own pooler, as this project saves it."""
    dense_file = _file(source, f"{path}/model.safetensors")
    transformer_file = _file(source, "model.safetensors")
    if dense_file is None or transformer_file is None:
        return False
    weight = load_file(transformer_file).get("pooler.dense.weight")
    return weight is not None and torch.equal(weight, load_file(dense_file)["linear.weight"])


def _json(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _file(source: str, name: str) -> str | None:
    """The path of a file of the model; None if it has none of that name."""
    return cached_file(
        source,
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
