"""bm25_search: BM25 runs over every validation and every test topic."""

from pathlib import Path

from dpr import lucene
from dpr.collections import beir
from dpr.settings import load_settings
from dpr.trec import drop_query_ids, write_run
from stages import run


def main() -> None:
    settings = load_settings("params.yaml")
    queries = beir.read_queries("data/collection")
    depth = settings.search.top_k
    for split in ("valid", "test"):
        found = lucene.search(
            Path("data/indexes/bm25"),
            [queries[query_id] for query_id in beir.read_qrels("data/collection", split)],
            settings.bm25.k1,
            settings.bm25.b,
            depth + settings.search.drop_query_id,
            settings.threads,
        )
        if settings.search.drop_query_id:
            found = drop_query_ids(found, depth)
        write_run(f"data/runs/{split}/bm25.txt", found, tag="bm25")


if __name__ == "__main__":
    run(main)
