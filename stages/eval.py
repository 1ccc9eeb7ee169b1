"""eval: the encoders' measures over every judged test topic, and nDCG@10 topic by topic.

In a stage of its own, beside `compare`, it also ends well where there is no Java for BM25.
"""

from dpr import measures, trec
from dpr.collections import beir
from dpr.files import write_json
from dpr.settings import load_settings
from dpr.tables import write_csv
from stages import run

SYSTEMS = ["zero_shot", "dense"]
HEADLINE = "nDCG@10"


def main() -> None:
    settings = load_settings("params.yaml")
    qrels = beir.read_qrels("data/collection", "test")
    queries = beir.read_queries("data/collection")
    results = {}
    for system in SYSTEMS:
        scores = trec.as_dict(trec.read_run(f"data/runs/test/{system}.txt"))
        results[system] = measures.by_topic(qrels, scores, settings.eval.measures)
    write_json("metrics/eval.json", {s: measures.means(values) for s, values in results.items()})
    rows = (
        [number, queries[qid].text, *(results[system][HEADLINE][qid] for system in SYSTEMS)]
        for number, qid in enumerate(qrels, start=1)
    )
    write_csv("plots/topics.csv", ["topic", "query", *SYSTEMS], rows)


if __name__ == "__main__":
    run(main)
