"""encode SYSTEM: the passages as vectors, by the encoder of that system.

Reads data/collection/corpus.jsonl and data/encoders/SYSTEM. Makes data/embeddings/SYSTEM. A killed
run resumes after its last complete window.

    python -m stages.encode dense
"""

from pathlib import Path

from dpr.base import runtime
from dpr.embeddings.passages import encode_passages
from dpr.encoders.embedder import Embedder
from dpr.encoders.spec import read_spec
from dpr.records.corpus import Corpus
from dpr.settings import load_settings
from dpr.similarity import require_same_similarity
from stages.run import SCRATCH, run


def main(system: str) -> None:
    settings = load_settings("params.yaml")
    threads = runtime.set_up(settings.threads)
    folder = Path("data/encoders") / system
    require_same_similarity(read_spec(folder).similarity, settings.similarity, folder)
    embedder = Embedder(folder, settings.encode, runtime.device(), threads, SCRATCH)
    encode_passages(
        embedder,
        corpus=Corpus(Path("data/collection"), settings.data.separator),
        options=settings.encode,
        folder=Path("data/embeddings") / system,
        scratch=SCRATCH / "encode",
    )


if __name__ == "__main__":
    run(main)
