"""What training gains on test topics, by how much they have in common with a training topic.

Reads data/training, and judgments and runs of data/collection. The overlap of two topics is the
Jaccard index of their relevant passages; that of a topic is the greatest with a training topic. Of
several sources in data.train, only the one that is searched too has the same passages.

    python -m tools.overlap
"""

from itertools import pairwise
from statistics import fmean
from typing import Any

from scipy.stats import spearmanr

from dpr import measures
from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.evaluation.report import table
from dpr.records import beir
from dpr.records.types import Qrels, is_relevant
from dpr.runs.trec import read_run
from dpr.sources.mesh import nearest_overlap
from stages.run import one_line_errors, parser
from tools import current

BINS = (0.0, 0.05, 0.1, 0.2, 0.4, 1.01)  # of the overlap


def main() -> None:
    current.warn("compare")
    test = relevant(beir.read_qrels("data/collection", "test"))
    train, trained_on = trained("data/training", source_number(read_json("data/manifest.json")))
    passages = {p for found in test.values() for p in found}
    print(
        f"{len(passages & trained_on):,} of the {len(passages):,} passages relevant to a test "
        "topic are positives of training topics\n"
    )
    overlap = nearest_overlap(test, train)
    qrels = beir.read_qrels("data/collection", "test")
    scores = [
        measures.by_topic(qrels, read_run(f"data/runs/test/{system}.txt"), [measures.HEADLINE])[
            measures.HEADLINE
        ]
        for system in ("zero_shot", "dense")
    ]
    rows = []
    for low, high in pairwise(BINS):
        inside = [topic for topic in test if low <= overlap[topic] < high]
        if inside:
            before, after = (fmean(values[topic] for topic in inside) for values in scores)
            row = [f"{low:.2f} to {min(high, 1):.2f}", str(len(inside)), f"{before:.4f}"]
            rows.append([*row, f"{after:.4f}", f"{after - before:+.4f}"])
    gains = [scores[1][topic] - scores[0][topic] for topic in test]
    found = spearmanr([overlap[topic] for topic in test], gains)
    print(table(["overlap", "topics", f"zero_shot {measures.HEADLINE}", "dense", "gain"], rows))
    print(f"\nrank correlation with the gain: {found.statistic:+.3f} (p = {found.pvalue:.3f})")


def source_number(manifest: dict[str, Any]) -> int:
    """Which source of data.train, from 1, is the collection. Raises InputError if none is."""
    sources, collection = manifest["train"]["name"].split(" + "), manifest["collection"]["name"]
    if collection not in sources:
        raise InputError(
            f"params.yaml: data.train: {manifest['train']['name']} has passages other than those "
            f"of data.collection, {collection}: their topics have no overlap to measure"
        )
    return sources.index(collection) + 1


def trained(folder: str, number: int) -> tuple[dict[str, set[str]], set[str]]:
    """The relevant passages of a source's training topics, and its positives, by their own ids."""
    prefix = "" if number == 1 else f"{number}-"  # see `dpr.sources.mixture`
    own = {query.id for query in beir.stream_queries(folder) if query.source == number}
    topics = {
        query_id: {passage_id.removeprefix(prefix) for passage_id in found}
        for query_id, found in relevant(beir.read_qrels(folder, "train")).items()
        if query_id in own
    }
    positives = {
        pair.passage_id.removeprefix(prefix)
        for pair in beir.read_pairs(folder)
        if pair.query_id in own
    }
    return topics, positives


def relevant(qrels: Qrels) -> dict[str, set[str]]:
    return {
        q: {p for p, grade in grades.items() if is_relevant(grade)} for q, grades in qrels.items()
    }


if __name__ == "__main__":
    parser("tools.overlap", __doc__).parse_args()
    with one_line_errors("overlap"):
        main()
