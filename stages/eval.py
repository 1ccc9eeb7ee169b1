"""eval: the measures of the encoders over all judged test topics, and nDCG@10 of each topic.

Reads the test runs of the encoders, and topics and judgments of data/collection. Makes
metrics/eval.json and plots/topics.csv. It is separate from `compare`, which needs BM25 and so Java.

    python -m stages.eval
"""

from dpr import measures
from dpr.base.files import write_csv, write_json
from dpr.records import beir
from dpr.records.types import ENCODERS
from dpr.runs import trec
from dpr.settings import load_settings
from stages.run import run


def main() -> str:
    settings = load_settings("params.yaml")
    qrels = beir.read_qrels("data/collection", "test")
    queries = beir.read_queries("data/collection")
    results = {}
    for system in ENCODERS:  # one run in memory at a time
        ranked = trec.read_run(f"data/runs/test/{system}.txt")
        results[system] = measures.by_topic(qrels, ranked, settings.eval.measures)
    write_json("metrics/eval.json", {s: measures.means(values) for s, values in results.items()})
    rows = (
        [number, queries[q].text, *(results[s][measures.PRIMARY_MEASURE][q] for s in ENCODERS)]
        for number, q in enumerate(qrels, start=1)
    )
    write_csv("plots/topics.csv", ["topic", "query", *ENCODERS], rows)
    return f"{len(qrels)} topics; {measures.summary_line(results)}"


if __name__ == "__main__":
    run(main)
