"""All that decides a vector besides the weights: it is saved with encoder and embeddings."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

from dpr.base.errors import InputError
from dpr.base.files import fingerprint, read_json

SPEC_FILE = "encoder.json"
PASSAGE_SIDE = "passage_side.json"  # a training of the query encoder leaves it as it is
Role = Literal["query", "passage"]


@dataclass(frozen=True)
class EncoderSpec:
    """Lengths are in tokens of a text, with [CLS] and [SEP]; a role's prefix goes before each text,
    and its tokens are not counted.

    In the spec that a model is read for, a prefix of None means the one that the model records.
    """

    similarity: str
    pooling: str
    tied: bool
    query_max_length: int
    passage_max_length: int
    query_prefix: str | None = None
    passage_prefix: str | None = None
    lower_case: bool = False  # before anything that the tokenizer does itself
    append_eos: bool = False  # after each text, unless the tokenizer does so itself
    truncation_side: str = "right"  # of a text that is too long: right keeps its beginning, or left

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
        """What of it decides the vectors of passages."""
        about = self.as_dict()
        return {k: about[k] for k in about if not k.startswith("query_") and k != "tied"}

    def whole_passage_side(self, encoder: Path) -> dict[str, Any]:
        """All that decides the vectors of passages: this, and files of the encoder."""
        source = self.folders(encoder)["passage"]
        # The other files only decide how libraries call it.
        decides = [source / "config.json", source / "tokenizer.json", *source.glob("*.safetensors")]
        return {"files": fingerprint(sorted(decides)), **self.passage_side()}

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def passage_side(folder: Path) -> str:
    """The fingerprint of all that decides the vectors of passages, for a saved encoder.

    Raises:
        InputError: if the encoder is not the one that its folder says it is.
    """
    file = folder / PASSAGE_SIDE
    if read_json(file) != read_spec(folder).whole_passage_side(folder):
        raise InputError(f"{file}: not what the files beside it are; make the encoder again")
    return fingerprint([file])


def weights_format(folder: Path) -> str:
    """The number format in which a saved encoder keeps its weights for passages."""
    kept = read_json(read_spec(folder).folders(folder)["passage"] / "config.json").get("dtype")
    return {"bfloat16": "bf16", "float16": "fp16"}.get(kept, "fp32")


def read_spec(folder: Path) -> EncoderSpec:
    """The spec of a saved encoder, without loading anything else.

    Raises:
        InputError: for a file that is missing, or not what `checkpoint.save` writes.
    """
    about = read_json(folder / SPEC_FILE)
    types = get_type_hints(EncoderSpec)
    try:
        spec = EncoderSpec(**about)
    except TypeError:
        spec = None
    if spec is None or not all(isinstance(v, types[k]) for k, v in spec.as_dict().items()):
        raise InputError(f"{folder / SPEC_FILE}: damaged, or of another version; train again")
    return spec
