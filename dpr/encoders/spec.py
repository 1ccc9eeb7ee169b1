"""All that decides a vector besides the weights; saved with encoder and embeddings."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from dpr.base.errors import InputError
from dpr.base.files import fingerprint, first_key, read_json

SPEC_FILE = "encoder.json"
PASSAGE_SIDE = "passage_side.json"  # unchanged by training the query encoder
Role = Literal["query", "passage"]


@dataclass(frozen=True)
class EncoderSpec:
    """Lengths are in tokens of a text, with [CLS] and [SEP]. A role's prefix goes before each text;
    its tokens are not counted. A prefix of None means the recorded one, until a model is loaded.
    """

    similarity: str
    pooling: str
    tied: bool
    query_max_length: int
    passage_max_length: int
    query_prefix: str | None = None
    passage_prefix: str | None = None
    lower_case: bool = False  # before the tokenizer's own normalizer
    append_eos: bool = False  # after each text, unless the tokenizer does so itself
    truncation_side: str = "right"  # right keeps the beginning of a long text, left its end

    def max_length(self, role: Role) -> int:
        return self.query_max_length if role == "query" else self.passage_max_length

    def with_prefix(self, texts: list[str], role: Role) -> list[str]:
        prefix = self.query_prefix if role == "query" else self.passage_prefix
        return [(prefix or "") + text for text in texts]

    def folders(self, encoder: Path) -> dict[Role, Path]:
        """The folder of each role's transformer and tokenizer in a saved encoder."""
        if self.tied:
            return {"query": encoder, "passage": encoder}
        return {"query": encoder / "query", "passage": encoder / "passage"}

    def passage_side(self) -> dict[str, Any]:
        """The part that decides the vectors of passages."""
        about = self.as_dict()
        return {k: about[k] for k in about if not k.startswith("query_") and k != "tied"}

    def whole_passage_side(self, encoder: Path) -> dict[str, Any]:
        """All that decides the vectors of passages: `passage_side`, and files of the encoder."""
        source = self.folders(encoder)["passage"]
        # The remaining files only decide how libraries call it.
        decides = [source / "config.json", source / "tokenizer.json", *source.glob("*.safetensors")]
        return {"files": fingerprint(sorted(decides)), **self.passage_side()}

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def passage_side(folder: Path) -> str:
    """The fingerprint of all that decides the vectors of passages, for a saved encoder.

    Raises:
        InputError: if files of the encoder were changed after it was saved.
    """
    file = folder / PASSAGE_SIDE
    if read_json(file) != read_spec(folder).whole_passage_side(folder):
        raise InputError(f"{file}: does not match the encoder's files; make the encoder again")
    return fingerprint([file])


def weights_format(folder: Path) -> str:
    """The number format of a saved encoder's passage weights."""
    config = read_json(read_spec(folder).folders(folder)["passage"] / "config.json")
    return {"bfloat16": "bf16", "float16": "fp16"}.get(config.get("dtype"), "fp32")


def read_spec(folder: Path) -> EncoderSpec:
    """The spec of a saved encoder, without loading anything else.

    Raises:
        InputError: for a file that is missing, or that `checkpoint.save` did not write.
    """
    file = folder / SPEC_FILE
    text = json.dumps(read_json(file))
    try:
        return TypeAdapter(EncoderSpec).validate_json(text, strict=True, extra="forbid")
    except ValidationError as error:
        raise InputError(
            f"{file}: {first_key(error)} is damaged, or of a different version; train again"
        ) from None
