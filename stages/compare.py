"""compare: the measures of all systems with intervals, tests of all pairs, and curves.

Reads all test runs, and topics and judgments of data/collection; also the runs of foreign systems
in data/external_runs. Makes metrics/compare.json and, in plots/, systems.csv, compare_topics.csv,
recall.csv and precision.csv, with the best system first.

    python -m stages.compare
"""

import sys

from dpr import measures
from dpr.base.files import write_csv, write_json
from dpr.evaluation import comparison
from dpr.measures import ByTopic
from dpr.records import beir
from dpr.records.types import SYSTEMS
from dpr.runs import trec
from dpr.settings import load_settings
from stages.run import run

INTERVAL = ("mean", "low", "high")


def main() -> str:
    settings = load_settings("params.yaml")
    top_k = settings.search.top_k
    qrels = beir.read_qrels("data/collection", "test")
    queries = beir.read_queries("data/collection")
    depths = [depth for depth in comparison.DEPTHS if depth <= top_k]
    names = [*settings.eval.measures, *(f"recall@{depth}" for depth in depths)]
    topics_of: dict[str, int] = {}  # of foreign runs
    results: dict[str, ByTopic] = {}
    recall: dict[str, dict[int, float]] = {}
    precision: dict[str, dict[float, float]] = {}
    files = comparison.run_files("data/runs/test", "data/external_runs")
    for system, file in files.items():  # one run in memory at a time
        ranked = trec.read_run(file).first(top_k)
        if system not in SYSTEMS:
            topics_of[system] = found = comparison.judged_topics(qrels, ranked)
            if found < len(qrels):
                rest = "each of the rest counts as 0" if found else "it is left out"
                note = f"it has {found} of {len(qrels)} judged topics; {rest}"
                print(f"compare: {file}: {note}", file=sys.stderr)
            if not found:
                continue
        values = measures.by_topic(qrels, ranked, names)
        results[system] = {name: values[name] for name in settings.eval.measures}
        means = measures.means(values)
        recall[system] = {depth: means[f"recall@{depth}"] for depth in depths}
        precision[system] = comparison.precision_by_recall(qrels, ranked)
    compared = comparison.compare_systems(results, settings.seed) | {"external": topics_of}
    write_json("metrics/compare.json", compared)

    order = comparison.best_first(compared)
    intervals = (
        [system, measure, *(compared["systems"][system][measure][key] for key in INTERVAL)]
        for system in order
        for measure in settings.eval.measures
    )
    write_csv("plots/systems.csv", ["system", "measure", *INTERVAL], intervals)
    topics = (
        [queries[q].text, *(results[system][measures.PRIMARY_MEASURE][q] for system in order)]
        for q in qrels
    )
    write_csv("plots/compare_topics.csv", ["query", *order], topics)
    by_depth = ([s, depth, mean] for s in order for depth, mean in recall[s].items())
    write_csv("plots/recall.csv", ["system", "depth", "recall"], by_depth)
    by_level = ([s, level, mean] for s in order for level, mean in precision[s].items())
    write_csv("plots/precision.csv", ["system", "recall", "precision"], by_level)
    return f"{len(qrels)} topics; {measures.summary_line(results)}"


if __name__ == "__main__":
    run(main)
