"""An encoder as a folder: saved, and loaded again bit by bit.

`SentenceTransformer(folder)` loads the folder, too, and computes the same vectors:

    tied       the transformer is in the folder itself, with the longer of both maximum lengths
    separate   query/ and passage/ behind a Router, for `encode_query` and `encode_document`

`save` of that library would add its version and a model card: different bytes for the same encoder
after every update. `encoder.json` has the spec. Weights are safetensors.
"""

from pathlib import Path
from typing import get_args

import torch
from safetensors.torch import save_file

from dpr.base.environment import installed
from dpr.base.errors import InputError
from dpr.base.files import new_folder, read_json, read_manifest, write_json
from dpr.encoders.dual_encoder import DualEncoder, TextEncoder
from dpr.encoders.recorded import POOLING_FLAGS, SIMILARITY_NAMES
from dpr.encoders.spec import PASSAGE_SIDE, SPEC_FILE, Role, read_spec
from dpr.encoders.tokenizer_files import read_saved, save_tokenizer
from dpr.encoders.tokens import Tokenizer, set_case
from dpr.encoders.transformer import LOAD_ERRORS, read_transformer

MADE_WITH = "made_with.json"
Modules = list[tuple[str, str]]  # (kind, path) of sentence-transformers' modules, in order


def save(encoder: DualEncoder, folder: str | Path, number_format: str = "fp32") -> None:
    """Write the encoder. `made_with.json` has the training's number format and the versions."""
    spec = encoder.spec
    with new_folder(folder) as partial:
        if spec.tied:
            modules = _save_role(encoder, get_args(Role), partial, "")
        else:
            modules = [("Router", "")]
            query = _save_role(encoder, ("query",), partial, "query")
            passage = _save_role(encoder, ("passage",), partial, "passage")
            _save_router({"query": query, "document": passage}, partial)
        rows = [
            {"idx": i, "name": str(i), "path": path, "type": _module_type(kind)}
            for i, (kind, path) in enumerate(modules)
        ]
        write_json(partial / "modules.json", rows)
        about = {
            "model_type": "SentenceTransformer",
            "similarity_fn_name": SIMILARITY_NAMES[spec.similarity],
            "prompts": {"query": spec.query_prefix, "document": spec.passage_prefix},
        }
        write_json(partial / "config_sentence_transformers.json", about)
        write_json(partial / SPEC_FILE, spec.as_dict())
        made_with = {"format": number_format, "versions": installed("torch", "transformers")}
        write_json(partial / MADE_WITH, made_with)
        write_json(partial / PASSAGE_SIDE, spec.whole_passage_side(partial))


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
    folders = spec.folders(folder)
    try:
        tokenizer = read_saved(folders["passage"])
        passage = read_transformer(folders["passage"], spec.pooling, dtype=dtype)
        query = passage
        if not spec.tied:
            query = read_transformer(folders["query"], spec.pooling, dtype=dtype)
    except LOAD_ERRORS as error:
        raise InputError(f"{folder}: an incomplete encoder ({error}); make it again") from None
    set_case(tokenizer.backend_tokenizer, spec)
    return DualEncoder(query, passage, tokenizer, spec).eval()


def _save_role(encoder: DualEncoder, roles: tuple[Role, ...], root: Path, path: str) -> Modules:
    """Write the transformer of these roles into `root / path`, its head into `root`."""
    text_encoder: TextEncoder = getattr(encoder, roles[0])
    folder = root / path
    folder.mkdir(exist_ok=True)
    text_encoder.backbone.save_pretrained(folder)
    config = read_json(folder / "config.json")
    config.pop("_name_or_path", None)  # a folder of this machine
    write_json(folder / "config.json", config)
    tokenizer = Tokenizer(encoder.tokenizer.backend_tokenizer, encoder.spec)
    # sentence-transformers truncates a prompt and its text together.
    max_length = max(map(tokenizer.limit, roles))
    save_tokenizer(encoder.tokenizer, max_length, folder)
    texts = {"max_seq_length": max_length, "do_lower_case": encoder.spec.lower_case}
    write_json(folder / "sentence_bert_config.json", texts)
    prefix = f"{path}_" if path else ""
    return [("Transformer", path), *_save_head(encoder, text_encoder, root, prefix)]


def _save_head(encoder: DualEncoder, text_encoder: TextEncoder, root: Path, prefix: str) -> Modules:
    """Write the modules after the transformer: Pooling, Dense (pooler), Normalize (cosine)."""
    dimension, pooling = encoder.dimension, encoder.spec.pooling
    pooler = pooling == "pooler"
    modules = [("Pooling", f"{prefix}1_Pooling")]
    flag_of_pooling = POOLING_FLAGS["cls" if pooler else pooling]
    flags = {flag: flag == flag_of_pooling for flag in POOLING_FLAGS.values()}
    write_json(
        root / modules[0][1] / "config.json", {"word_embedding_dimension": dimension} | flags
    )
    if pooler:  # a Dense layer with tanh over [CLS]
        modules.append(("Dense", f"{prefix}2_Dense"))
        about = {
            **{"in_features": dimension, "out_features": dimension, "bias": True},
            "activation_function": "torch.nn.modules.activation.Tanh",
        }
        write_json(root / modules[1][1] / "config.json", about)
        layer = text_encoder.backbone.pooler.dense
        weights = {"linear.weight": layer.weight.data, "linear.bias": layer.bias.data}
        weights = {name: weight.contiguous().cpu() for name, weight in weights.items()}
        save_file(weights, root / modules[1][1] / "model.safetensors")
    if encoder.similarity.normalize:
        modules.append(("Normalize", f"{prefix}{len(modules) + 1}_Normalize"))
        write_json(root / modules[-1][1] / "config.json", {})
    return modules


def _save_router(routes: dict[str, Modules], folder: Path) -> None:
    types = {path: _module_type(kind) for modules in routes.values() for kind, path in modules}
    structure = {name: [path for _, path in modules] for name, modules in routes.items()}
    parameters = {"default_route": "document", "allow_empty_key": True}
    router = {"types": types, "structure": structure, "parameters": parameters}
    write_json(folder / "router_config.json", router)


def _module_type(kind: str) -> str:
    return f"sentence_transformers.models.{kind}"
