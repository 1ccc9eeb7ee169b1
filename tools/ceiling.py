"""Print nDCG@10 of each system, as it is and after a perfect re-ranking of its first passages.

The difference is the most that a re-ranker can gain. A further gain needs a search that finds
different passages. Reads the runs of a split, and judgments of data/collection.

    python -m tools.ceiling            # test topics
    python -m tools.ceiling valid
"""

from pathlib import Path

from dpr import measures
from dpr.base.errors import InputError
from dpr.evaluation import comparison
from dpr.evaluation.markdown_tables import table
from dpr.records import beir
from dpr.runs import trec
from dpr.settings import load_settings
from stages.run import one_line_errors, parser
from tools import sides

DEPTHS = (20, 100, 1000)


def main(split: str) -> None:
    sides.warn("compare")
    qrels, runs = beir.read_qrels("data/collection", split), Path("data/runs") / split
    if not qrels:
        raise InputError(f"data/collection/qrels/{split}.tsv: no topic with a judgment")
    top_k = load_settings("params.yaml").search.top_k
    depths = sorted({min(depth, top_k) for depth in DEPTHS})
    external = "data/external_runs" if split == "test" else None
    rows = []
    for system, file in comparison.run_files(runs, external).items():
        if file.exists():
            run = trec.read_run(file)
            means = [measures.mean_primary_measure(qrels, run)]
            means += [comparison.of_reranking(qrels, run, depth) for depth in depths]
            rows.append([system, *(f"{mean:.4f}" for mean in means)])
    if not rows:
        raise InputError(f"{runs}: no run; `dvc repro` makes them")
    ceilings = [f"first {depth:,} re-ranked" for depth in depths]
    print(table(["system", measures.PRIMARY_MEASURE, *ceilings], rows))


if __name__ == "__main__":
    arguments = parser("tools.ceiling", __doc__)
    arguments.add_argument("split", nargs="?", default="test", choices=("test", "valid"))
    with one_line_errors("ceiling"):
        main(arguments.parse_args().split)
