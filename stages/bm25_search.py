"""bm25_search: BM25 runs over all validation and test topics.

Reads queries and judged topics of data/collection, and data/indexes/bm25. Makes
data/runs/valid/bm25.txt and data/runs/test/bm25.txt.

    python -m stages.bm25_search
"""

from pathlib import Path

from dpr.base.environment import thread_count
from dpr.bm25 import lucene
from dpr.records import beir
from dpr.records.documents import as_documents
from dpr.records.run import depth_in_words, search_depth, without_own_passages
from dpr.runs.trec import write_run
from dpr.settings import load_settings
from stages.run import run


def main() -> str:
    settings = load_settings("params.yaml")
    queries = beir.read_queries("data/collection")
    splits = {
        "valid": beir.read_qrels("data/collection", "valid"),
        "test": beir.read_test_qrels("data/collection"),
    }
    search = lucene.search_documents if settings.data.cut else lucene.search
    top_k, runs = settings.search.top_k, []
    depth = search_depth(top_k, queries)
    for split, judged in splits.items():
        found = search(
            Path("data/indexes/bm25"),
            [queries[query_id] for query_id in judged],
            settings.bm25.k1,
            settings.bm25.b,
            depth,
            thread_count(settings.threads),
            settings.bm25.heap,
            rm3=settings.bm25.rm3,
        )
        if settings.data.cut:
            found = as_documents(found, depth)
        runs.append(without_own_passages(found, top_k, queries))
        write_run(f"data/runs/{split}/bm25.txt", runs[-1], tag="bm25")
    return depth_in_words(runs, top_k, "documents" if settings.data.cut else "passages")


if __name__ == "__main__":
    run(main)
