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
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from dpr.base.environment import installed
from dpr.base.errors import InputError
from dpr.base.files import new_folder, read_json, read_manifest, write_json
from dpr.encoders.dual_encoder import DualEncoder, TextEncoder
from dpr.encoders.model_folder import UnusableModel, module_folders
from dpr.encoders.spec import LENGTHS, PASSAGE_SIDE, ROLES, SPEC_FILE, Role, read_spec
from dpr.encoders.tokenizer_files import finish_saved
from dpr.similarity import SIMILARITIES

MADE_WITH = "made_with.json"
ABOUT = "config_sentence_transformers.json"
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
    _set_lengths(encoder)
    end = [Normalize()] if encoder.similarity.normalize else []
    modules = {role: [*encoder.side(role).layers, *end] for role in ROLES}
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
        about = read_json(partial / ABOUT)
        del about["__version__"]  # it has the build, for CPU or CUDA; see made_with.json
        write_json(partial / ABOUT, about)
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


def _set_lengths(encoder: DualEncoder) -> None:
    """Let sentence-transformers truncate as this encoder does."""
    tokenizer = encoder.tokenizer
    limits = {role: tokenizer.limit(role) for role in ROLES}
    for role in ROLES:
        first, backend = encoder.side(role).first, tokenizer.backends[role]
        own = [limits[r] for r in ROLES if encoder.side(r).first is first]
        longest = max((limit for limit in own if limit is not None), default=None)
        backend.no_truncation()
        if isinstance(first, Transformer):
            first.max_seq_length = longest
            setattr(first, LENGTHS[role], limits[role])
        elif longest is not None:
            backend.enable_truncation(longest, direction=encoder.spec.side(role).truncation_side)


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
        modules = side_modules(folder, model)
    except Exception as error:  # the libraries raise all kinds for damaged files
        raise InputError(f"{folder}: cannot be loaded ({error}); make it again") from None
    return assemble(modules, spec).eval()


def side_modules(folder: Path, model: SentenceTransformer) -> dict[Role, list[Any]]:
    """The modules of each role, all but the transformer in float32.

    sentence-transformers rounds them to the dtype of the transformer, so they are read again.
    """
    sides = {role: module_folders(folder, model, TASKS[role]) for role in ROLES}
    for module, path in {id(row[0]): row for side in sides.values() for row in side}.values():
        if isinstance(module, StaticEmbedding):
            module.float()
        elif any(p.dtype != torch.float32 for p in module.parameters()) and not isinstance(
            module, Transformer
        ):
            module.float().load_torch_weights(str(path), model=module)
    return {role: [module for module, _ in sides[role]] for role in ROLES}


def assemble(modules: dict[Role, list[Any]], spec: Any) -> DualEncoder:
    """An encoder of these modules. For cosine, the similarity normalizes, once."""
    similarity = SIMILARITIES[spec.similarity]
    for layers in modules.values():
        while similarity.normalize and isinstance(layers[-1], Normalize):
            layers.pop()
    passage = TextEncoder(modules["passage"], similarity)
    query = passage if spec.tied else TextEncoder(modules["query"], similarity)
    return DualEncoder(query, passage, spec)


def load_model(folder: Path, dtype: str | torch.dtype, pooler: bool = False) -> SentenceTransformer:
    """A sentence-transformers model, or a transformer with that library's default pooling.

    Args:
        pooler: whether the transformer's own pooler will be used.
    Raises:
        Exception: of any kind, from the libraries.
        UnusableModel: for weights that are missing or have a different shape.
    """
    with _reports() as reports:
        model = SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": dtype},
        )
    pooler |= any(
        isinstance(module, Transformer) and module.module_output_name == "sentence_embedding"
        for module in model.modules()
    )
    for name, saved, expected in sorted(m for r in reports for m in r["mismatched_keys"]):
        raise UnusableModel(f"{name} has the shape {[*saved]}, but config.json says {[*expected]}")
    names = sorted(name for report in reports for name in report["missing_keys"])
    if missing := [name for name in names if pooler or "pooler" not in name]:
        raise UnusableModel(f"{len(missing)} weights are missing, {missing[0]} among them")
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
