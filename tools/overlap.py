"""Print the gain of training on test topics, by their overlap with the training topics.

Reads data/training, and judgments and runs of data/collection. The overlap of two topics is the
Jaccard index of their relevant passages. Each test topic takes the overlap of its most similar
training topic. If data.train has several sources, only the source in data.collection counts.

    python -m tools.overlap
"""

from itertools import pairwise
from statistics import fmean
from typing import Any

from scipy.stats import spearmanr

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.evaluation.markdown_tables import table
from dpr.measures import PRIMARY_MEASURE, by_topic
from dpr.records import beir
from dpr.records.types import Qrels, is_relevant
from dpr.runs.trec import read_run
from dpr.sources.mesh import nearest_overlap
from stages.run import one_line_errors, parser
from tools import sides

BINS = (0.0, 0.05, 0.1, 0.2, 0.4, 1.01)  # of the overlap


def main() -> None:
    sides.warn("compare")
    qrels = beir.read_qrels("data/collection", "test")
    test = relevant(qrels)
    train, positives = training("data/training", source_number(read_json("data/manifest.json")))
    passages = set().union(*test.values())
    print(
        f"{len(passages & positives):,} of the {len(passages):,} passages relevant to a test "
        "topic are positives of training topics\n"
    )
    overlap = nearest_overlap(test, train)
    measure = PRIMARY_MEASURE
    before, after = (
        by_topic(qrels, read_run(f"data/runs/test/{system}.txt"), [measure])[measure]
        for system in ("zero_shot", "dense")
    )
    rows = []
    for low, high in pairwise(BINS):
        if topics := [topic for topic in test if low <= overlap[topic] < high]:
            one, other = (fmean(values[topic] for topic in topics) for values in (before, after))
            row = [f"{low:.2f} to {min(high, 1):.2f}", str(len(topics))]
            rows.append([*row, f"{one:.4f}", f"{other:.4f}", f"{other - one:+.4f}"])
    print(table(["overlap", "topics", f"zero_shot {measure}", "dense", "gain"], rows))
    rank = spearmanr([overlap[t] for t in test], [after[t] - before[t] for t in test])
    print(f"\nrank correlation with the gain: {rank.statistic:+.3f} (p = {rank.pvalue:.3f})")


def source_number(manifest: dict[str, Any]) -> int:
    """The place of the collection in data.train, from 1. Raises InputError if it is not there."""
    sources, collection = manifest["train"]["name"].split(" + "), manifest["collection"]["name"]
    if collection not in sources:
        raise InputError(
            f"params.yaml: data.train: {manifest['train']['name']} has passages other than those "
            f"of data.collection, {collection}: the topics have no passage ids in common"
        )
    return sources.index(collection) + 1


def training(folder: str, number: int) -> tuple[dict[str, set[str]], set[str]]:
    """A source's relevant passages by training topic, and its positives, by the source's ids."""
    prefix = "" if number == 1 else f"{number}-"  # see `dpr.sources.mixture`
    own = {query.id for query in beir.stream_queries(folder) if query.mixture_source == number}
    topics = {
        query_id: {passage_id.removeprefix(prefix) for passage_id in passage_ids}
        for query_id, passage_ids in relevant(beir.read_qrels(folder, "train")).items()
        if query_id in own
    }
    pairs = (pair for pair in beir.read_pairs(folder) if pair.query_id in own)
    return topics, {pair.passage_id.removeprefix(prefix) for pair in pairs}


def relevant(qrels: Qrels) -> dict[str, set[str]]:
    return {
        q: {p for p, grade in grades.items() if is_relevant(grade)} for q, grades in qrels.items()
    }


if __name__ == "__main__":
    parser("tools.overlap", __doc__).parse_args()
    with one_line_errors("overlap"):
        main()
