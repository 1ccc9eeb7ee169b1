"""index SYSTEM: the passage vectors of that system as a FAISS index."""

import sys

from dpr import index, runtime, similarity
from dpr.embeddings import Embeddings
from dpr.settings import load_settings
from stages import run


def main(system: str) -> None:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads)
    embeddings = Embeddings.open(f"data/embeddings/{system}")
    similarity.require(
        embeddings.manifest["similarity"], settings.similarity, f"data/embeddings/{system}"
    )
    made = index.build(embeddings, settings.index.dimension)
    index.save(made, embeddings, settings.index.kind, f"data/indexes/{system}")


if __name__ == "__main__":
    run(main, *sys.argv[1:])
