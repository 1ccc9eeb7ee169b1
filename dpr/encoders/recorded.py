"""The record of a sentence-transformers model: pooling, similarity, prompts and lengths.

A model is a list of modules in modules.json. Each kind that this project has an equivalent of has a
reader in `READERS`.
"""

import json
from collections.abc import Callable, Iterable
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
# The file with length and case is sentence_KIND_config.json.
TRANSFORMERS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
# Names under which models keep the prompt of a role; the first that is not empty counts.
PROMPT_NAMES = {"query": ("query",), "passage": ("document", "passage", "corpus")}
IGNORE = "set model.respect_modules to false"


class Recorded(NamedTuple):
    pooling: str
    normalize: bool = False
    similarity: str | None = None  # None if the model records none
    query_prompt: str = ""
    passage_prompt: str = ""
    max_length: int | None = None  # in tokens
    lower_case: bool = False


class Files(NamedTuple):
    """The files of a model: a local folder, or a hub model at a revision."""

    source: str
    revision: str | None

    def path(self, name: str) -> str | None:
        """The path of a file of the model; None if there is no such file."""
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


def read_modules(source: str, revision: str | None = None) -> Recorded | None:
    """The record of a local folder or hub model; None if it has none.

    Raises:
        ValueError: for modules without an equivalent in this project.
    """
    files = Files(source, revision)
    modules = files.json("modules.json")
    if modules is None:
        return None
    kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[1:]) <= READERS.keys():
        raise ValueError(f"its modules are {kinds}; {IGNORE}")
    recorded = _read_settings(files)
    for kind, module in zip(kinds[1:], modules[1:], strict=True):
        recorded = READERS[kind](recorded, files, module["path"])
    return recorded


def _read_settings(files: Files) -> Recorded:
    """Similarity and prompts of the model, length and case of its transformer."""
    about = files.json("config_sentence_transformers.json") or {}
    query, passage = (_prompt(about, names) for names in PROMPT_NAMES.values())
    configs = (files.json(f"sentence_{kind}_config.json") for kind in TRANSFORMERS)
    texts: dict[str, Any] = next((config for config in configs if config), {})
    longest = (files.json("tokenizer_config.json") or {}).get("model_max_length") or UNLIMITED
    similarity = about.get("similarity_fn_name") or None
    names = {theirs: name for name, theirs in SIMILARITY_NAMES.items()}
    return Recorded(
        pooling="",
        similarity=similarity and names.get(similarity, similarity),
        query_prompt=query,
        passage_prompt=passage,
        max_length=texts.get("max_seq_length") or (longest if longest < UNLIMITED else None),
        lower_case=texts.get("do_lower_case", False),
    )


def _prompt(about: dict[str, Any], names: Iterable[str]) -> str:
    """The prompt of a role: by its name, else the model's default, else none.

    (sentence-transformers 6 adds empty prompts "query" and "document", and so loses one that is
    named "passage".)
    """
    prompts = about.get("prompts") or {}
    default = about.get("default_prompt_name")
    return next((prompts[name] for name in (*names, default) if prompts.get(name)), "")


def _read_pooling(recorded: Recorded, files: Files, path: str) -> Recorded:
    settings = files.json(f"{path}/config.json")
    if settings is None:
        raise ValueError("its Pooling module has no config.json")
    prompted = recorded.query_prompt or recorded.passage_prompt
    if prompted and not settings.get("include_prompt", True):
        raise ValueError(f"its pooling leaves out the tokens of the prompt; {IGNORE}")
    if mode := settings.get("pooling_mode"):
        modes = [mode] if isinstance(mode, str) else mode
        names = ["last" if mode == "lasttoken" else mode for mode in modes]
    else:  # older models record flags
        flags = [key for key in settings if key.startswith("pooling_mode_") and settings[key]]
        names = [name for name, flag in POOLING_FLAGS.items() if flags == [flag]] or flags
    return recorded._replace(pooling="+".join(names))


def _read_dense(recorded: Recorded, files: Files, path: str) -> Recorded:
    """A Dense module is read if it is the transformer's own pooler, as `checkpoint.save` writes."""
    dense, transformer = files.path(f"{path}/model.safetensors"), files.path("model.safetensors")
    if recorded.pooling == "cls" and dense and transformer:
        weight = load_file(transformer).get("pooler.dense.weight")
        if weight is not None and torch.equal(weight, load_file(dense)["linear.weight"]):
            return recorded._replace(pooling="pooler")
    raise ValueError(f"it has a Dense module; {IGNORE}")


def _read_normalize(recorded: Recorded, files: Files, path: str) -> Recorded:
    return recorded._replace(normalize=True)


# How each kind of module after the transformer changes the record.
READERS: dict[str, Callable[[Recorded, Files, str], Recorded]] = {
    "Pooling": _read_pooling,
    "Dense": _read_dense,
    "Normalize": _read_normalize,
}
