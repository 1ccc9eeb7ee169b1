"""An encoder as a folder: saved, and loaded again bit by bit.

The folder has sentence-transformers' layout and, beside it, `encoder.json` with the spec. Weights
are safetensors.
"""

from pathlib import Path

import torch

from dpr.base.environment import installed
from dpr.base.errors import InputError
from dpr.base.files import new_folder, read_manifest, write_json
from dpr.encoders import sentence_transformers_layout as layout
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.spec import PASSAGE_SIDE, SPEC_FILE, read_spec
from dpr.encoders.tokenizer_files import read_saved
from dpr.encoders.tokens import set_case
from dpr.encoders.transformer import LOAD_ERRORS, read_transformer

MADE_WITH = "made_with.json"


def save(encoder: DualEncoder, folder: str | Path, format: str = "fp32") -> None:
    """Write the encoder; `made_with.json` says in which number format, and by which packages."""
    with new_folder(folder) as partial:
        layout.write(encoder, partial)
        write_json(partial / SPEC_FILE, encoder.spec.as_dict())
        made_with = {"format": format, "versions": installed("torch", "transformers")}
        write_json(partial / MADE_WITH, made_with)
        write_json(partial / PASSAGE_SIDE, encoder.spec.whole_passage_side(partial))


def trained_in(folder: Path) -> str:
    """The number format in which a saved encoder was trained; fp32 for an untrained one."""
    return str(read_manifest(folder / MADE_WITH, {"format": str}, "make it again")["format"])


def load(folder: str | Path, dtype: str | torch.dtype = "auto") -> DualEncoder:
    """The encoder that `save` wrote, in evaluation mode.

    Args:
        dtype: of the weights; "auto" is the one in which they are saved. (A dtype that is set
            afterwards would also round the angles of rotary position embeddings.)

    Raises:
        InputError: for a file that is missing or damaged.
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
        raise InputError(f"{folder}: not a whole encoder ({error}); make it again") from None
    set_case(tokenizer.backend_tokenizer, spec)
    return DualEncoder(query, passage, tokenizer, spec).eval()
