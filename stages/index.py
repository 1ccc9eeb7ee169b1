"""index SYSTEM: a FAISS index over the passage vectors of that system.

Reads data/embeddings/SYSTEM. Makes data/indexes/SYSTEM.

    python -m stages.index dense
"""

from dpr.base import runtime
from dpr.embeddings.artifact import Embeddings
from dpr.indexes.build import build
from dpr.indexes.index import save
from dpr.settings import load_settings
from dpr.similarity import require_same_similarity
from stages.run import run


def main(system: str) -> None:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads, settings.seed)
    folder = f"data/embeddings/{system}"
    embeddings = Embeddings.open(folder)
    require_same_similarity(embeddings.manifest["similarity"], settings.similarity, folder)
    index, max_norm = build(embeddings, settings.index, settings.seed)
    save(index, max_norm, embeddings, settings.index, f"data/indexes/{system}")


if __name__ == "__main__":
    run(main)
