"""index SYSTEM: build a FAISS index over the passage vectors of SYSTEM; none for kind flat.

Reads data/embeddings/SYSTEM. Makes data/indexes/SYSTEM.

    python -m stages.index dense
    torchrun --standalone --nproc-per-node 2 -m stages.index dense      # `launcher` in params.yaml
"""

import torch

from dpr.base import runtime
from dpr.base.processes import ProcessGroup
from dpr.embeddings.artifact import Embeddings
from dpr.indexes.build import build
from dpr.settings import load_settings
from stages.run import run


def main(system: str) -> str:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads, settings.seed)
    processes = ProcessGroup.join(torch.device("cpu"))
    folder = f"data/embeddings/{system}"
    embeddings = Embeddings.open(folder)
    build(embeddings, settings.index, settings.seed, f"data/indexes/{system}", processes)
    processes.leave()
    return f"{settings.index.kind}, {len(embeddings.ids):,} passages"


if __name__ == "__main__":
    run(main)
