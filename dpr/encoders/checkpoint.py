"""An encoder as a folder: saved, and loaded again bit by bit.

The folder has sentence-transformers' layout and, beside it, `encoder.json` with the spec. Weights
are safetensors.
"""

from pathlib import Path

from dpr.base.errors import InputError
from dpr.base.files import new_folder, read_json, write_json
from dpr.encoders import sentence_transformers_layout as layout
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.spec import EncoderSpec
from dpr.encoders.transformer import LOAD_ERRORS, read_tokenizer, read_transformer

SPEC_FILE = "encoder.json"


def save(encoder: DualEncoder, folder: str | Path) -> None:
    with new_folder(folder) as partial:
        layout.write(encoder, partial)
        write_json(partial / SPEC_FILE, encoder.spec.as_dict())


def load(folder: str | Path) -> DualEncoder:
    """The encoder that `save` wrote, in evaluation mode.

    Raises:
        InputError: for a file that is missing or damaged.
    """
    folder = Path(folder)
    spec = read_spec(folder)
    query_folder, passage_folder = layout.transformer_folders(folder, spec.tied)
    try:
        tokenizer = read_tokenizer(passage_folder)
        passage = read_transformer(passage_folder, spec.pooling)
        query = passage if spec.tied else read_transformer(query_folder, spec.pooling)
    except LOAD_ERRORS as error:
        raise InputError(f"{folder}: not a whole encoder ({error}); make it again") from None
    return DualEncoder(query, passage, tokenizer, spec).eval()


def read_spec(folder: Path) -> EncoderSpec:
    """The spec alone, without loading anything else."""
    return EncoderSpec(**read_json(folder / SPEC_FILE))
