"""search SYSTEM: a TREC run of that system over every validation and every test topic."""

import sys

from dpr import checkpoint, runtime, similarity
from dpr.collections import beir
from dpr.files import read_json
from dpr.indexes.artifact import Index
from dpr.queries import embed_topics
from dpr.search import search
from dpr.settings import load_settings
from dpr.trec import drop_query_ids, write_run
from stages import run


def main(system: str) -> None:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads)
    encoder = checkpoint.load(f"data/encoders/{system}").to(runtime.device())
    similarity.require(encoder.spec.similarity, settings.similarity, f"data/encoders/{system}")
    index = Index.open(f"data/indexes/{system}")
    similarity.require(index.manifest["similarity"], settings.similarity, f"data/indexes/{system}")
    index.require_embeddings(
        read_json(f"data/embeddings/{system}/manifest.json"), f"data/indexes/{system}"
    )

    depth = settings.search.top_k
    for split in ("valid", "test"):
        query_ids = list(beir.read_qrels("data/collection", split))
        vectors = embed_topics(encoder, "data/collection", query_ids, settings.encode)
        found = search(
            index,
            query_ids,
            vectors,
            depth + settings.search.drop_query_id,
            settings.search.nprobe,
            settings.search.ef_search,
        )
        if settings.search.drop_query_id:
            found = drop_query_ids(found, depth)
        write_run(f"data/runs/{split}/{system}.txt", found, tag=system)


if __name__ == "__main__":
    run(main, *sys.argv[1:])
