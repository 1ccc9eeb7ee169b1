"""compare: every system's measures with intervals, tests against references, and curves."""

from dpr import comparison, curves, measures, trec
from dpr.collections import beir
from dpr.files import write_json
from dpr.settings import load_settings
from dpr.tables import write_csv
from stages import run

SYSTEMS = ["bm25", "zero_shot", "dense", "rrf", "hybrid"]
HEADLINE = "nDCG@10"


def main() -> None:
    settings = load_settings("params.yaml")
    qrels = beir.read_qrels("data/collection", "test")
    queries = beir.read_queries("data/collection")
    runs = {
        system: trec.as_dict(trec.read_run(f"data/runs/test/{system}.txt")) for system in SYSTEMS
    }
    results = {s: measures.by_topic(qrels, r, settings.eval.measures) for s, r in runs.items()}
    compared = comparison.compare_systems(results, settings.eval.references, settings.seed)
    write_json("metrics/compare.json", compared)

    rows = (
        [system, measure, interval["mean"], interval["low"], interval["high"]]
        for system, by_measure in compared["systems"].items()
        for measure, interval in by_measure.items()
    )
    write_csv("plots/systems.csv", ["system", "measure", "mean", "low", "high"], rows)
    rows = (
        [queries[query_id].text, *(results[system][HEADLINE][query_id] for system in SYSTEMS)]
        for query_id in qrels
    )
    write_csv("plots/compare_topics.csv", ["query", *SYSTEMS], rows)
    depths = [depth for depth in curves.DEPTHS if depth <= settings.search.top_k]
    rows = (
        [system, depth, value]
        for system, found in runs.items()
        for depth, value in curves.recall_by_depth(qrels, found, depths).items()
    )
    write_csv("plots/recall.csv", ["system", "depth", "recall"], rows)
    rows = (
        [system, level, value]
        for system, found in runs.items()
        for level, value in curves.precision_by_recall(qrels, found).items()
    )
    write_csv("plots/precision.csv", ["system", "recall", "precision"], rows)


if __name__ == "__main__":
    run(main)
