"""compare: the measures of all systems with intervals, tests against references, and comparison.

Reads all test runs, and topics and judgments of data/collection. Makes metrics/compare.json and, in
plots/, systems.csv, compare_topics.csv, recall.csv and precision.csv.

    python -m stages.compare
"""

from concurrent.futures import ThreadPoolExecutor

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

    def described(system: str) -> tuple[ByTopic, dict[int, float], dict[float, float]]:
        found = trec.read_run(f"data/runs/test/{system}.txt")
        return (
            measures.by_topic(qrels, found, settings.eval.measures),
            comparison.recall_by_depth(qrels, found, depths),
            comparison.precision_by_recall(qrels, found),
        )

    with ThreadPoolExecutor(2) as threads:  # two runs in memory at a time
        of_system = dict(zip(SYSTEMS, threads.map(described, SYSTEMS), strict=True))
    results = {system: values for system, (values, _, _) in of_system.items()}
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
    recall = ([s, k, value] for s, (_, found, _) in of_system.items() for k, value in found.items())
    write_csv("plots/recall.csv", ["system", "depth", "recall"], recall)
    precision = (
        [s, level, value]
        for s, (_, _, found) in of_system.items()
        for level, value in found.items()
    )
    write_csv("plots/precision.csv", ["system", "recall", "precision"], precision)
    return f"{len(qrels)} topics; {measures.headlines(results)}"


if __name__ == "__main__":
    run(main)
