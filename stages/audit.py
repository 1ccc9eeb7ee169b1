"""audit: what each index misses of what exact search finds, on the same test topics."""

import sys
from pathlib import Path

from dpr import checkpoint, runtime
from dpr.collections import beir
from dpr.embeddings import Embeddings
from dpr.files import write_json
from dpr.indexes.artifact import Index
from dpr.indexes.audit import audit, require
from dpr.queries import embed_topics
from dpr.settings import load_settings
from dpr.tables import write_csv
from stages import run

SYSTEMS = ["zero_shot", "dense"]


def main() -> None:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads)
    qrels = beir.read_qrels("data/collection", "test")
    results, tradeoff = {}, []
    for system in SYSTEMS:
        encoder = checkpoint.load(f"data/encoders/{system}").to(runtime.device())
        embeddings = Embeddings.open(f"data/embeddings/{system}")
        folder = Path("data/indexes") / system
        index = Index.open(folder)
        index.require_embeddings(embeddings.manifest, folder)
        vectors = embed_topics(encoder, "data/collection", list(qrels), settings.encode)
        results[system], found, speeds = audit(
            index,
            embeddings,
            list(qrels),
            vectors,
            qrels,
            folder,
            settings.search,
        )
        tradeoff += [[system, *row] for row in found]
        print(
            f"{system}: {results[system]}; queries a second: {speeds[0]:,.0f}, exact search "
            f"{speeds[1]:,.0f}",
            file=sys.stderr,
        )
    for system in SYSTEMS:
        require(results[system], settings.index.min_recall, f"data/indexes/{system}")
    write_json("metrics/audit.json", results)
    write_csv("plots/tradeoff.csv", ["system", "setting", "value", "recall@10"], tradeoff)


if __name__ == "__main__":
    run(main)
