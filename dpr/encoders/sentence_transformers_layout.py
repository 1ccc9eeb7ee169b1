"""Writing an encoder so that `SentenceTransformer(folder)` loads it and gives the same vectors.

    tied       the transformer is in the folder itself, with the longer of both maximum lengths
    separate   query/ and passage/ behind a Router, for `encode_query` and `encode_document`

Written by hand, since that library's own `save` adds its version and a model card: other bytes for
the same encoder after every update.
"""

import json
from pathlib import Path
from typing import get_args

from safetensors.torch import save_file

from dpr.base.files import write_json
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.recorded import POOLING_FLAGS, SIMILARITY_NAMES
from dpr.encoders.spec import Role
from dpr.encoders.tokenizer_files import save_tokenizer
from dpr.encoders.tokens import Tokenizer


def write(encoder: DualEncoder, folder: Path) -> None:
    """Modules, weights, tokenizers and prompts of an encoder, into an empty folder."""
    if encoder.spec.tied:
        _save_transformer(encoder, "passage", folder)
        modules = [("Transformer", ""), *_save_head(encoder, "passage", folder)]
    else:
        routes: dict[str, list[tuple[str, str]]] = {}
        roles: tuple[tuple[Role, str], ...] = (("query", "query"), ("passage", "document"))
        for role, route in roles:
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
    # `_name_or_path` is a folder of this machine.
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    write_json(folder / "config.json", config)
    # The library truncates a text and its prompt together.
    tokenizer = Tokenizer(encoder.tokenizer.backend_tokenizer, encoder.spec)
    max_length = max(map(tokenizer.limit, get_args(Role) if encoder.spec.tied else (role,)))
    save_tokenizer(encoder.tokenizer, max_length, folder)
    texts = {"max_seq_length": max_length, "do_lower_case": encoder.spec.lower_case}
    write_json(folder / "sentence_bert_config.json", texts)


def _save_head(
    encoder: DualEncoder, role: Role, folder: Path, prefix: str = ""
) -> list[tuple[str, str]]:
    """Write the modules after the transformer; returns (kind, path) of each, in order."""
    spec, dimension = encoder.spec, encoder.dimension
    head = [("Pooling", f"{prefix}1_Pooling")]
    chosen = POOLING_FLAGS["cls" if spec.pooling == "pooler" else spec.pooling]
    flags = {flag: flag == chosen for flag in POOLING_FLAGS.values()}
    pooling = {"word_embedding_dimension": dimension, **flags}
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
