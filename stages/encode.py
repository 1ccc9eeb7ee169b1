"""encode SYSTEM: the passages as vectors, with the encoder of that system."""

import os
import sys
from pathlib import Path

from dpr import checkpoint, runtime, similarity
from dpr.encoding import encode_corpus
from dpr.settings import load_settings
from stages import run


def main(system: str) -> None:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads)
    folder = Path("data/encoders") / system
    encoder = checkpoint.load(folder).to(runtime.device())
    similarity.require(encoder.spec.similarity, settings.similarity, folder)
    encode_corpus(
        encoder,
        encoder_folder=folder,
        collection=Path("data/collection"),
        separator=settings.data.separator,
        options=settings.encode,
        folder=Path("data/embeddings") / system,
        # DVC empties an output before each try; what a killed run had done waits here.
        scratch=Path(os.environ.get("DVC_ROOT", ".")) / ".scratch" / "encode",
    )


if __name__ == "__main__":
    run(main, *sys.argv[1:])
