"""index SYSTEM: a FAISS index over the passage vectors of that system."""

import sys

from dpr import runtime, similarity
from dpr.embeddings import Embeddings
from dpr.indexes.artifact import save
from dpr.indexes.build import build
from dpr.settings import load_settings
from stages import run


def main(system: str) -> None:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads, settings.seed)
    embeddings = Embeddings.open(f"data/embeddings/{system}")
    similarity.require(
        embeddings.manifest["similarity"], settings.similarity, f"data/embeddings/{system}"
    )
    made, greatest = build(embeddings, settings.index, settings.seed)
    save(made, greatest, embeddings, settings.index, f"data/indexes/{system}")


if __name__ == "__main__":
    run(main, *sys.argv[1:])
