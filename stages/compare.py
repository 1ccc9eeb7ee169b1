"""compare: the measures of all systems with intervals, tests against references, and curves.

Reads all test runs, and topics and judgments of data/collection. Makes metrics/compare.json and, in
plots/, systems.csv, compare_topics.csv, recall.csv and precision.csv.

    python -m stages.compare
"""

from typing import Any

from dpr import measures
from dpr.base.files import write_csv, write_json
from dpr.evaluation import comparison
from dpr.measures import ByTopic
from dpr.records import beir
from dpr.records.types import SYSTEMS
from dpr.runs import trec
from dpr.settings import load_settings
from stages.run import run


def main() -> str:
    settings = load_settings("params.yaml")
    qrels = beir.read_qrels("data/collection", "test")
    queries = beir.read_queries("data/collection")
    depths = [depth for depth in comparison.DEPTHS if depth <= settings.search.top_k]
    names = [*settings.eval.measures, *(f"recall@{depth}" for depth in depths)]
    results: dict[str, ByTopic] = {}
    recall: list[list[Any]] = []
    precision: list[list[Any]] = []
    for system in SYSTEMS:
        ranked = trec.read_run(f"data/runs/test/{system}.txt")
        values = measures.by_topic(qrels, ranked, names)
        results[system] = {name: values[name] for name in settings.eval.measures}
        means = measures.means(values)
        recall += ([system, depth, means[f"recall@{depth}"]] for depth in depths)
        by_level = comparison.precision_by_recall(qrels, ranked)
        precision += ([system, level, mean] for level, mean in by_level.items())
    compared = comparison.compare_systems(results, settings.eval.references, settings.seed)
    write_json("metrics/compare.json", compared)

    intervals = (
        [system, measure, interval["mean"], interval["low"], interval["high"]]
        for system, by_measure in compared["systems"].items()
        for measure, interval in by_measure.items()
    )
    write_csv("plots/systems.csv", ["system", "measure", "mean", "low", "high"], intervals)
    topics = (
        [queries[q].text, *(results[system][measures.PRIMARY_MEASURE][q] for system in SYSTEMS)]
        for q in qrels
    )
    write_csv("plots/compare_topics.csv", ["query", *SYSTEMS], topics)
    write_csv("plots/recall.csv", ["system", "depth", "recall"], recall)
    write_csv("plots/precision.csv", ["system", "recall", "precision"], precision)
    return f"{len(qrels)} topics; {measures.summary_line(results)}"


if __name__ == "__main__":
    run(main)
