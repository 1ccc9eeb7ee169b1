"""eval: every system's measures over every judged test topic, and nDCG@10 topic by topic."""

from pathlib import Path

from dpr import measures, trec
from dpr.collections import beir
from dpr.files import write_json
from dpr.settings import load_settings
from dpr.tables import write_csv
from stages import run

HEADLINE = "nDCG@10"


def main() -> None:
    settings = load_settings("params.yaml")
    qrels = beir.read_qrels("data/collection", "test")
    queries = beir.read_queries("data/collection")
    names = list(dict.fromkeys([HEADLINE, *settings.eval.measures]))
    results = {
        path.stem: measures.by_topic(qrels, trec.as_dict(trec.read_run(path)), names)
        for path in sorted(Path("data/runs/test").glob("*.txt"))
    }
    write_json("metrics/eval.json", {name: measures.means(v) for name, v in results.items()})
    rows = (
        [number, queries[qid].text, *(values[HEADLINE][qid] for values in results.values())]
        for number, qid in enumerate(qrels, start=1)
    )
    write_csv("plots/topics.csv", ["topic", "query", *results], rows)


if __name__ == "__main__":
    run(main)
