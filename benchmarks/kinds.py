"""Recall of each kind of index, on the collection and the trained encoder of this checkout.

    python -m benchmarks.kinds                  # all, or: --kinds flat ivf hnsw
    python -m benchmarks.kinds --rescore 2000   # with and without `search.rescore`

Runs the audit of the stage for each kind, with all other settings from params.yaml. Needs the data
of `dvc repro`.
"""

import sys
import tempfile
from pathlib import Path

from dpr.base import runtime
from dpr.embeddings.artifact import Embeddings
from dpr.embeddings.precision import open_for_queries
from dpr.evaluation.markdown_tables import table
from dpr.indexes.audit import DEPTHS, audit
from dpr.indexes.build import build
from dpr.indexes.index import Index
from dpr.indexes.kinds import KINDS
from dpr.measures import PRIMARY_MEASURE
from dpr.records import beir
from dpr.settings import load_settings
from stages.run import SCRATCH, parser

FACTORIES = ("IVF256,SQ8", "HNSW32,SQ8", "RR384,IVF256,PQ96x4fs")


def main() -> None:
    arguments = parser("benchmarks.kinds", __doc__)
    arguments.add_argument("--kinds", nargs="*", default=[*KINDS, *FACTORIES])
    arguments.add_argument("--rescore", type=int)
    parsed = arguments.parse_args()
    chosen, rescore = parsed.kinds, parsed.rescore
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads, settings.seed)
    qrels = beir.read_qrels("data/collection", "test")
    source = Path("data/encoders/dense")
    embeddings, device = Embeddings.open("data/embeddings/dense"), runtime.device()
    embedder = open_for_queries(embeddings, source, settings.encode, device, SCRATCH)
    queries = beir.read_queries("data/collection")
    topics = [queries[query_id] for query_id in qrels]
    vectors = embedder.embed_queries(topics)
    rows: list[list[str]] = []
    search = settings.search.model_copy(update={"top_k": max(DEPTHS), "rescore": rescore})
    choices = [(kind, "float32") for kind in chosen]
    choices += [(kind, "float16") for kind in ("ivf", "hnsw") if kind in chosen]
    with tempfile.TemporaryDirectory() as name:
        for kind, storage in choices:
            options = settings.index.model_copy(update={"kind": kind, "storage": storage})
            folder = Path(name) / "index"
            build(embeddings, options, settings.seed, folder)
            metrics, tradeoff, _ = audit(
                Index.open(folder, embeddings),
                topics,
                vectors,
                qrels,
                search,
            )
            half = f"{kind}, float16" if storage == "float16" else kind
            recalls = [metrics[f"recall@{k}"] for k in DEPTHS]
            if rescore:
                plain = metrics.get("without_rescoring", metrics)
                recalls = [plain[f"recall@{k}"] for k in DEPTHS] + recalls
            lost, size = metrics[f"{PRIMARY_MEASURE}_lost"], metrics["bytes_per_vector"]
            rows.append([half, *(f"{r:.4f}" for r in recalls), f"{lost:+.4f}", f"{size:.0f}"])
            print(rows[-1], tradeoff, file=sys.stderr)
    columns = [f"recall@{k}" for k in DEPTHS]
    if rescore:
        columns += [f"rescored @{k}" for k in DEPTHS]
    print(table(["kind", *columns, f"{PRIMARY_MEASURE} lost", "bytes per vector"], rows))


if __name__ == "__main__":
    main()
