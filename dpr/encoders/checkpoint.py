"""An encoder as a folder: a sentence-transformers model, saved and loaded by that library.

    tied       one list of modules, for both roles
    separate   a Router with a query and a document route: `encode_query`, `encode_document`.
               Plain `encode` is refused, since it could not know the role

`encoder.json` has the rest of what decides a vector, see `spec.py`. Weights are safetensors.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Router, Transformer
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from dpr.base.environment import installed
from dpr.base.errors import InputError
from dpr.base.files import new_folder, read_json, read_manifest, write_json
from dpr.encoders.dual_encoder import DualEncoder, TextEncoder
from dpr.encoders.model_folder import module_folders
from dpr.encoders.spec import LENGTHS, PASSAGE_SIDE, ROLES, SPEC_FILE, Role, read_spec
from dpr.encoders.tokenizer_files import finish_saved
from dpr.similarity import SIMILARITIES

MADE_WITH = "made_with.json"
TASKS: dict[Role, str] = {"query": "query", "passage": "document"}  # their names there
SIMILARITY_NAMES: dict[str, Any] = {
    "cosine": "cosine",
    "dot": "dot",
    "l2": "euclidean",
    "l1": "manhattan",
}

transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()  # missing weights are refused here, further ones ignored


def save(encoder: DualEncoder, folder: str | Path, number_format: str = "fp32") -> None:
    """Write the encoder. `made_with.json` has the training's number format and the versions."""
    spec = encoder.spec
    tokenizer = encoder.tokenizer
    end = [Normalize()] if encoder.similarity.normalize else []
    modules = {role: [*encoder.side(role).layers, *end] for role in ROLES}
    for role in ROLES:
        if isinstance(first := modules[role][0], Transformer):
            limits = [tokenizer.limit(r) for r in ROLES if modules[r][0] is first]
            first.max_seq_length = max(n for n in limits if n is not None)
            setattr(first, LENGTHS[role], tokenizer.limit(role))
    model = SentenceTransformer(
        modules=[Normalize()],  # replaced below: it would move and round the weights of others
        prompts={TASKS[role]: spec.side(role).prefix for role in ROLES},
        similarity_fn_name=SIMILARITY_NAMES[spec.similarity],
        device="cpu",
    )
    if spec.tied:
        model[0] = modules["passage"][0]
        model.extend(modules["passage"][1:])
    else:
        routes = {TASKS[role]: modules[role] for role in ROLES}
        model[0] = Router(routes, default_route=None, allow_empty_key=False)
    with new_folder(folder) as partial:
        model.save_pretrained(str(partial), create_model_card=False)
        sides: dict[str, Any] = {}
        for role in ROLES:
            folders = [path for _, path in module_folders(partial, model, TASKS[role])]
            if transformer := encoder.side(role).transformer:
                _finish_transformer(folders[0], transformer)
            names = tuple(path.relative_to(partial).as_posix() for path in folders)
            sides[role] = replace(spec.side(role), modules=names)
        spec = replace(spec, **sides)
        write_json(partial / SPEC_FILE, spec.as_dict())
        made_with = {
            "format": number_format,
            "versions": installed("sentence-transformers", "torch", "transformers"),
        }
        write_json(partial / MADE_WITH, made_with)
        write_json(partial / PASSAGE_SIDE, spec.passage_side(partial))


def _finish_transformer(folder: Path, transformer: Any) -> None:
    config = read_json(folder / "config.json")
    config.pop("_name_or_path", None)  # a folder of this machine
    write_json(folder / "config.json", config)
    finish_saved(folder, transformer.tokenizer)


def add_training(encoder: DualEncoder, data: str, steps: int) -> None:
    """Record a training in the encoder's lineage, its data without folders of this machine."""
    sources = [source.partition(":") for source in data.split(" + ")]
    names = " + ".join(
        kind + colon + (Path(path).name if path.startswith(("/", "~")) else path)
        for kind, colon, path in sources
    )
    lineage = (*encoder.spec.lineage, f"{steps} steps on {names}")
    encoder.spec = replace(encoder.spec, lineage=lineage)


def trained_in(folder: Path) -> str:
    """The number format in which a saved encoder was trained; fp32 for an untrained one."""
    return str(read_manifest(folder / MADE_WITH, {"format": str}, "make it again")["format"])


def load(folder: str | Path, dtype: str | torch.dtype = "auto") -> DualEncoder:
    """The encoder that `save` wrote, in evaluation mode.

    Args:
        dtype: of the weights; "auto" is the saved one. (Converting loaded weights would also round
            the angles of rotary position embeddings.)
    Raises:
        InputError: for a missing or damaged file.
    """
    folder = Path(folder)
    spec = read_spec(folder)
    try:
        model = load_model(folder, dtype)
        sides = {role: module_folders(folder, model, TASKS[role]) for role in ROLES}
    except Exception as error:  # the libraries raise all kinds for damaged files
        raise InputError(f"{folder}: cannot be loaded ({error}); make it again") from None
    return assemble({r: [module for module, _ in sides[r]] for r in ROLES}, spec).eval()


def assemble(modules: dict[Role, list[Any]], spec: Any) -> DualEncoder:
    """An encoder of these modules. For cosine, the similarity normalizes, once."""
    similarity = SIMILARITIES[spec.similarity]
    for layers in modules.values():
        while similarity.normalize and isinstance(layers[-1], Normalize):
            layers.pop()
        for layer in layers[1:]:
            layer.float()  # what follows the transformer is small and stays exact
    passage = TextEncoder(modules["passage"], similarity)
    query = passage if spec.tied else TextEncoder(modules["query"], similarity)
    return DualEncoder(query, passage, spec)


def load_model(folder: Path, dtype: str | torch.dtype) -> SentenceTransformer:
    """A sentence-transformers model, or a transformer with that library's default pooling.

    Raises:
        Exception: of any kind, from the libraries.
        ValueError: for weights that are missing or have a different shape.
    """
    with _reports() as reports:
        model = SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": dtype},
        )
    needs_pooler = any(
        isinstance(module, Transformer) and module.module_output_name == "sentence_embedding"
        for module in model.modules()
    )
    for name, saved, expected in sorted(m for r in reports for m in r["mismatched_keys"]):
        raise ValueError(f"{name} has the shape {[*saved]}, but config.json says {[*expected]}")
    names = sorted(name for report in reports for name in report["missing_keys"])
    if missing := [name for name in names if needs_pooler or "pooler" not in name]:
        raise ValueError(f"{len(missing)} weights are missing, {missing[0]} among them")
    return model


@contextmanager
def _reports() -> Iterator[list[dict[str, Any]]]:
    """What transformers reports of each transformer that it loads in the block.

    Without a report, missing weights would be random, and sentence-transformers asks for none.
    """
    reports: list[dict[str, Any]] = []
    original = PreTrainedModel.from_pretrained.__func__  # type: ignore[attr-defined]

    def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> PreTrainedModel:
        kwargs |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        model, report = original(cls, *args, **kwargs)
        reports.append(report)
        return model

    with mock.patch.object(PreTrainedModel, "from_pretrained", classmethod(from_pretrained)):
        yield reports
