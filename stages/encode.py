"""encode SYSTEM: encode the passages with the encoder of SYSTEM.

Reads data/collection/corpus.jsonl and data/encoders/SYSTEM. Makes data/embeddings/SYSTEM.
After a kill, the next run encodes the remaining windows.

    python -m stages.encode dense
    torchrun --standalone --nproc-per-node 2 -m stages.encode dense     # `launcher` in params.yaml
"""

from pathlib import Path

from dpr.base import runtime
from dpr.base.processes import ProcessGroup
from dpr.embeddings.passages import encode_passages
from dpr.embeddings.precision import open_for_passages
from dpr.records.corpus import Corpus
from dpr.settings import load_settings
from stages.run import SCRATCH, run


def main(system: str) -> str:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads)
    processes = ProcessGroup.join(runtime.device())
    folder = Path("data/encoders") / system
    corpus = Corpus(Path("data/collection"), settings.data.separator)
    embedder = open_for_passages(corpus, folder, settings.encode, SCRATCH, processes)
    embeddings = encode_passages(embedder, corpus, Path("data/embeddings") / system, processes)
    processes.leave()
    return embeddings.described


if __name__ == "__main__":
    run(main)
