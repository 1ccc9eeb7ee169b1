"""How texts become tokens and vectors are compared, as a saved encoder records it.

`encoder.json` needs neither torch nor transformers to be read. The rest of a saved encoder is a
sentence-transformers model, see `checkpoint.py`.
"""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import TypeAdapter, ValidationError

from dpr.base.errors import InputError
from dpr.base.files import fingerprint, first_key, read_json

SPEC_FILE = "encoder.json"
PASSAGE_SIDE = "passage_side.json"  # unchanged by training the query encoder
TRANSFORMER_FILE = "sentence_bert_config.json"
# Lengths of both roles, which sentence-transformers reads from that file.
LENGTHS = {"query": "query_length", "passage": "document_length"}
Role = Literal["query", "passage"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Side:
    """One role of an encoder.

    Args:
        max_length: tokens of a text, with special tokens, without the prefix; None: all of them.
        prefix: precedes each text. Its tokens are added to `max_length`.
        truncation_side: "right" keeps the beginning of a long text, "left" its end.
        special_tokens: whether the tokenizer adds them ([CLS], [SEP]).
        include_prompt: whether the tokens of the prefix take part in the pooling.
        modules: folders in the saved encoder, in the order of computation. The first one has the
            tokenizer.
    """

    max_length: int | None
    prefix: str = ""
    truncation_side: Literal["right", "left"] = "right"
    special_tokens: bool = True
    include_prompt: bool = True
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class EncoderSpec:
    similarity: str
    tied: bool  # one encoder for both roles
    query: Side
    passage: Side
    lineage: tuple[str, ...] = ()  # the model that it was first, then each training

    def side(self, role: Role) -> Side:
        return self.query if role == "query" else self.passage

    @property
    def has_transformers(self) -> bool:
        """Whether both roles have one: a StaticEmbedding takes no special tokens."""
        return self.query.special_tokens and self.passage.special_tokens

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def passage_side(self, encoder: Path) -> dict[str, Any]:
        """All that decides the vectors of passages, for an encoder in this folder."""
        side = asdict(self.passage)
        folders = [encoder / name for name in side.pop("modules")]
        return {"similarity": self.similarity, **side, "modules": [*map(_module, folders)]}


def _module(folder: Path) -> str:
    """A hash of the files that decide what a module computes."""
    decisive = [*folder.glob("*.safetensors"), folder / "config.json", folder / "tokenizer.json"]
    hashes = [fingerprint(sorted(file for file in decisive if file.exists()))]
    if (folder / TRANSFORMER_FILE).exists():
        about = read_json(folder / TRANSFORMER_FILE)
        hashes.append(json.dumps({key: about[key] for key in about if key not in LENGTHS.values()}))
    return sha256("\n".join(hashes).encode()).hexdigest()


def passage_side(folder: Path) -> str:
    """The fingerprint of all that decides the vectors of passages, for a saved encoder.

    Raises:
        InputError: if files of the encoder were changed after it was saved.
    """
    file = folder / PASSAGE_SIDE
    if read_json(file) != read_spec(folder).passage_side(folder):
        raise InputError(f"{file}: does not match the encoder's files; make the encoder again")
    return fingerprint([file])


def weights_format(folder: Path) -> str:
    """The number format of a saved encoder's passage weights."""
    config = folder / read_spec(folder).passage.modules[0] / "config.json"
    dtype = read_json(config).get("dtype", "") if config.exists() else ""
    return {"bfloat16": "bf16", "float16": "fp16"}.get(dtype, "fp32")


def read_spec(folder: Path) -> EncoderSpec:
    """The spec of a saved encoder, without loading anything else.

    Raises:
        InputError: for a file that is missing, or that `checkpoint.save` did not write.
    """
    file = folder / SPEC_FILE
    text = json.dumps(read_json(file))
    try:
        spec = TypeAdapter(EncoderSpec).validate_json(text, strict=True, extra="forbid")
    except ValidationError as error:
        raise InputError(
            f"{file}: {first_key(error)} is damaged, or of a different version; train again"
        ) from None
    if not (spec.query.modules and spec.passage.modules):
        raise InputError(f"{file}: names no modules; train again")
    return spec
