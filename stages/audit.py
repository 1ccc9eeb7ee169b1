"""audit: compare each index with exact search, and the number format with fp32.

Reads the test topics of data/collection, and the encoders, embeddings and indexes of both systems.
Makes metrics/audit.json and plots/tradeoff.csv. Fails if the recall of an index is below
audit.min_recall. Also fails if `encode.precision: auto` chose a format with too much noise.

    python -m stages.audit
"""

from pathlib import Path

from dpr.base import runtime
from dpr.base.files import write_csv, write_json
from dpr.base.processes import ProcessGroup
from dpr.embeddings.artifact import Embeddings
from dpr.embeddings.precision import open_for_queries, precision_cost, require_promise
from dpr.indexes.audit import audit, require_recall
from dpr.indexes.exact_search import Resources
from dpr.indexes.index import Index
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.pool import sample_topics
from dpr.records.types import ENCODERS
from dpr.settings import load_settings
from stages.run import SCRATCH, run


def main() -> str:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads)
    device = runtime.device()
    qrels = sample_topics(beir.read_test_qrels("data/collection"), settings.audit.topics)
    queries = beir.read_queries("data/collection")
    judged = [queries[query_id] for query_id in qrels]
    corpus = Corpus(Path("data/collection"), settings.data.separator)
    results, tradeoff, rates = {}, [], []
    for system in ENCODERS:
        source = Path("data/encoders") / system
        embeddings, options = Embeddings.open(f"data/embeddings/{system}"), settings.encode
        embedder = open_for_queries(embeddings, source, options, device, SCRATCH)
        resources = Resources(settings.search.memory, ProcessGroup(device=device))
        index = Index.open(Path("data/indexes") / system, embeddings, resources)
        vectors = embedder.embed_queries(judged)
        found = audit(index, judged, vectors, qrels, settings.search, settings.data.cut)
        precision = precision_cost(embedder, embeddings, corpus, [q.text for q in judged])
        results[system] = found.metrics | {"precision": precision}
        tradeoff += [[system, *row] for row in found.tradeoff]
        ours, exact = found.queries_per_second
        compared = "" if found.metrics["kind"] == "flat" else f", exact search {exact:,.0f}"
        rates.append(f"{system} {ours:,.0f} queries a second{compared}")
    write_json("metrics/audit.json", results)
    write_csv("plots/tradeoff.csv", ["system", "setting", "value", "recall@10"], tradeoff)
    for system in ENCODERS:  # after writing the figures, which explain a failure
        require_recall(results[system], settings.audit.min_recall, f"data/indexes/{system}")
        source = Path("data/encoders") / system
        require_promise(results[system]["precision"], source, settings.encode)
    return "; ".join(rates)


if __name__ == "__main__":
    run(main)
