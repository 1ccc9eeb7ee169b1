"""What a sentence-transformers model records: pooling, similarity, prompts and lengths."""

import json
from collections.abc import Iterable
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
    "last": "pooling_mode_lasttoken",
}
SIMILARITY_NAMES = {"cosine": "cosine", "dot": "dot", "l2": "euclidean", "l1": "manhattan"}
UNLIMITED = 10**6  # tokens; transformers writes 10^30 for no limit
# Names of the file with length and case: sentence_KIND_config.json.
TRANSFORMERS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
# Names under which models keep the prompt of a role; the first that is not empty is taken.
PROMPT_NAMES = {"query": ("query",), "passage": ("document", "passage", "corpus")}


class Recorded(NamedTuple):
    pooling: str
    normalize: bool
    similarity: str | None  # None if it records none
    query_prompt: str = ""
    passage_prompt: str = ""
    max_length: int | None = None  # in tokens
    lower_case: bool = False


def read_modules(source: str, revision: str | None = None) -> Recorded | None:
    """The record of a local folder or hub model; None for a model that has none.

    Raises:
        ValueError: for modules that this project has no equivalent of.
    """
    files = Files(source, revision)
    modules = files.json("modules.json")
    if modules is None:
        return None
    kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= {"Dense", "Normalize"}:
        raise ValueError(f"its modules are {kinds}; set model.respect_modules to false")
    settings = files.json(f"{modules[1]['path']}/config.json")
    if settings is None:
        raise ValueError("its Pooling module has no config.json")
    pooling = _pooling(settings)
    if "Dense" in kinds:
        if pooling != "cls" or not _is_pooler(files, modules[kinds.index("Dense")]["path"]):
            raise ValueError("it has a Dense module; set model.respect_modules to false")
        pooling = "pooler"
    about = files.json("config_sentence_transformers.json") or {}
    query, passage = (_prompt(about, names) for names in PROMPT_NAMES.values())
    if (query or passage) and not settings.get("include_prompt", True):
        raise ValueError(
            "its pooling leaves out the tokens of the prompt; set model.respect_modules to false"
        )
    kept = (files.json(f"sentence_{kind}_config.json") for kind in TRANSFORMERS)
    texts: dict[str, Any] = next((found for found in kept if found), {})
    longest = (files.json("tokenizer_config.json") or {}).get("model_max_length") or UNLIMITED
    return Recorded(
        pooling,
        "Normalize" in kinds,
        _similarity(about),
        query,
        passage,
        texts.get("max_seq_length") or (longest if longest < UNLIMITED else None),
        texts.get("do_lower_case", False),
    )


def _similarity(about: dict[str, Any]) -> str | None:
    name = about.get("similarity_fn_name")
    if not name:
        return None
    return {theirs: ours for ours, theirs in SIMILARITY_NAMES.items()}.get(name, name)


def _prompt(about: dict[str, Any], names: Iterable[str]) -> str:
    """The prompt of a role: by its name, else the model's default one, else none.

    (sentence-transformers 6 takes none for a role without a prompt of its own, since it adds empty
    ones under "query" and "document"; then a prompt that is named "passage" is lost.)
    """
    prompts = about.get("prompts") or {}
    default = about.get("default_prompt_name")
    return next((prompts[name] for name in (*names, default) if prompts.get(name)), "")


def _pooling(settings: dict[str, Any]) -> str:
    """Our name of a pooling; theirs if it is none of ours. (Older models record flags.)"""
    if mode := settings.get("pooling_mode"):
        modes = [mode] if isinstance(mode, str) else mode
        return "+".join("last" if mode == "lasttoken" else mode for mode in modes)
    chosen = [key for key in settings if key.startswith("pooling_mode_") and settings[key]]
    ours = [name for name, flag in POOLING_FLAGS.items() if chosen == [flag]]
    return ours[0] if ours else "+".join(chosen)


class Files(NamedTuple):
    """The files of a model: a local folder, or a hub model at a revision."""

    source: str
    revision: str | None

    def path(self, name: str) -> str | None:
        """The path of a file of the model; None if it has none of that name."""
        return cached_file(
            self.source,
            name,
            revision=self.revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )

    def json(self, name: str) -> Any:
        path = self.path(name)
        return path and json.loads(Path(path).read_text(encoding="utf-8"))


def _is_pooler(files: Files, path: str) -> bool:
    """Whether a Dense module is the transformer's own pooler, as this project saves it."""
    dense_file, transformer_file = (
        files.path(f"{folder}model.safetensors") for folder in (f"{path}/", "")
    )
    if dense_file is None or transformer_file is None:
        return False
    weight = load_file(transformer_file).get("pooler.dense.weight")
    return weight is not None and torch.equal(weight, load_file(dense_file)["linear.weight"])
