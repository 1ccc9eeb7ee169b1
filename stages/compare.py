"""compare: the measures of all systems with intervals, tests against references, and curves.

Reads all test runs, and topics and judgments of data/collection. Makes metrics/compare.json and, in
plots/, systems.csv, compare_topics.csv, recall.csv and precision.csv.

    python -m stages.compare
"""

from dpr import measures
from dpr.base.files import write_csv, write_json
from dpr.evaluation import comparison, curves
from dpr.records import beir
from dpr.runs import trec
from dpr.settings import load_settings
from dpr.systems import SYSTEMS
from stages.run import run


def main() -> None:
    settings = load_settings("params.yaml")
    qrels = beir.read_qrels("data/collection", "test")
    queries = beir.read_queries("data/collection")
    runs = {system: trec.read_run(f"data/runs/test/{system}.txt") for system in SYSTEMS}
    results = {s: measures.by_topic(qrels, r, settings.eval.measures) for s, r in runs.items()}
    compared = comparison.compare_systems(results, settings.eval.references, settings.seed)
    write_json("metrics/compare.json", compared)

    intervals = (
        [system, measure, interval["mean"], interval["low"], interval["high"]]
        for system, by_measure in compared["systems"].items()
        for measure, interval in by_measure.items()
    )
    write_csv("plots/systems.csv", ["system", "measure", "mean", "low", "high"], intervals)
    topics = (
        [queries[q].text, *(results[system][measures.HEADLINE][q] for system in SYSTEMS)]
        for q in qrels
    )
    write_csv("plots/compare_topics.csv", ["query", *SYSTEMS], topics)
    depths = [depth for depth in curves.DEPTHS if depth <= settings.search.top_k]
    recall = (
        [system, depth, value]
        for system, found in runs.items()
        for depth, value in curves.recall_by_depth(qrels, found, depths).items()
    )
    write_csv("plots/recall.csv", ["system", "depth", "recall"], recall)
    precision = (
        [system, level, value]
        for system, found in runs.items()
        for level, value in curves.precision_by_recall(qrels, found).items()
    )
    write_csv("plots/precision.csv", ["system", "recall", "precision"], precision)


if __name__ == "__main__":
    run(main)
