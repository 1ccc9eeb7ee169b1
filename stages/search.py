"""search SYSTEM: TREC runs of that system over all validation and test topics.

Reads queries and judged topics of data/collection, data/encoders/SYSTEM, data/indexes/SYSTEM and
the manifest of data/embeddings/SYSTEM. Makes data/runs/valid/SYSTEM.txt and
data/runs/test/SYSTEM.txt.

    python -m stages.search dense
"""

from pathlib import Path

from dpr.base import runtime
from dpr.base.files import read_json
from dpr.embeddings.queries import embed_topics
from dpr.encoders.embedder import Embedder
from dpr.encoders.spec import read_spec
from dpr.indexes.exact_search import as_run
from dpr.indexes.index import Index
from dpr.records import beir
from dpr.runs.depth import finish, search_depth
from dpr.runs.trec import write_run
from dpr.settings import load_settings
from dpr.similarity import require_same_similarity
from stages import figures
from stages.run import SCRATCH, run


def main(system: str) -> None:
    settings = load_settings("params.yaml")
    figures.forget(system)
    threads = runtime.set_up(settings.threads)
    source = Path("data/encoders") / system
    require_same_similarity(read_spec(source).similarity, settings.similarity, source)
    embedder = Embedder(source, settings.encode, runtime.device(), threads, SCRATCH)
    folder = f"data/indexes/{system}"
    index = Index.open(folder)
    require_same_similarity(index.manifest["similarity"], settings.similarity, folder)
    index.require_embeddings(read_json(f"data/embeddings/{system}/manifest.json"), folder)

    options, queries = settings.search, beir.read_queries("data/collection")
    depth = search_depth(options.top_k, queries)
    for split in ("valid", "test"):
        query_ids = list(beir.read_qrels("data/collection", split))
        vectors = embed_topics(embedder, "data/collection", query_ids)
        scores, rows = index.search(vectors, depth, options.nprobe, options.ef_search)
        found = finish(as_run(query_ids, scores, rows, index.ids), options.top_k, queries)
        write_run(f"data/runs/{split}/{system}.txt", found, tag=system)


if __name__ == "__main__":
    run(main)
