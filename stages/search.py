"""search SYSTEM: TREC runs of SYSTEM over all validation and test topics.

Reads queries and judged topics of data/collection, data/encoders/SYSTEM, data/embeddings/SYSTEM and
data/indexes/SYSTEM. Makes data/runs/valid/SYSTEM.txt and data/runs/test/SYSTEM.txt.

    python -m stages.search dense
    torchrun --standalone --nproc-per-node 2 -m stages.search dense     # `launcher` in params.yaml
"""

from pathlib import Path

from dpr.base import runtime
from dpr.base.processes import ProcessGroup
from dpr.embeddings.artifact import Embeddings
from dpr.embeddings.precision import open_for_queries
from dpr.indexes.exact_search import Resources
from dpr.indexes.feedback import with_feedback
from dpr.indexes.index import Index
from dpr.records import beir
from dpr.records.documents import as_documents
from dpr.records.run import Run, depth_in_words, search_depth, without_own_passages
from dpr.runs.trec import write_run
from dpr.settings import load_settings
from stages.run import SCRATCH, run


def main(system: str) -> str:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads)
    topics = {
        "valid": list(beir.read_qrels("data/collection", "valid")),
        "test": list(beir.read_test_qrels("data/collection")),
    }
    processes = ProcessGroup.join(runtime.device())
    source = Path("data/encoders") / system
    folder = f"data/indexes/{system}"
    options, queries = settings.search, beir.read_queries("data/collection")
    embeddings = Embeddings.open(f"data/embeddings/{system}")
    embedder = open_for_queries(embeddings, source, settings.encode, processes.device, SCRATCH)
    index = Index.open(folder, embeddings, Resources(options.memory, processes))

    depth, runs = search_depth(options.top_k, queries), list[Run]()
    for split, query_ids in topics.items():
        asked = [queries[query_id] for query_id in query_ids]
        vectors = embedder.embed_queries(asked)
        vectors = with_feedback(index, asked, vectors, options, settings.data.cut)
        if settings.data.cut:
            found = as_documents(index.search_documents(query_ids, vectors, depth, options), depth)
        else:
            found = index.run(query_ids, vectors, depth, options)
        runs.append(without_own_passages(found, options.top_k, queries))
        if processes.is_first:
            write_run(f"data/runs/{split}/{system}.txt", runs[-1], tag=system)
    processes.leave()
    return depth_in_words(runs, options.top_k, "documents" if settings.data.cut else "passages")


if __name__ == "__main__":
    run(main)
