"""init: the encoder before training, which is also the system zero_shot.

Reads the model in model.name. Writes data/encoders/zero_shot. It is separate from training, so that
training parameters do not rerun the encoding and search of zero_shot.

    python -m stages.init
"""

import sys

from dpr.base import runtime
from dpr.encoders import checkpoint
from dpr.encoders.pretrained import pretrained
from dpr.settings import load_settings
from stages.revisions import model_folder
from stages.run import run


def main() -> str:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads, settings.seed)
    model = settings.model
    with model_folder(model.name) as name, model_folder(model.query_name) as query_name:
        found = model.model_copy(update={"name": name, "query_name": query_name})
        encoder, notes = pretrained(found, settings.similarity)
    checkpoint.save(encoder, "data/encoders/zero_shot")
    for note in notes:
        print(f"init: {note}", file=sys.stderr)
    spec = encoder.spec
    parameters = sum(p.numel() for p in encoder.parameters())
    return (
        f"{model.name}, {parameters:,} parameters, {encoder.dimension} dimensions, "
        f"{spec.similarity}; queries of {spec.query.max_length} tokens, passages of "
        f"{spec.passage.max_length}"
    )


if __name__ == "__main__":
    run(main)
