"""fuse: combine dense and BM25, by reciprocal rank (rrf) and by weighted scores (hybrid).

Reads both runs, and the judgments of data/collection. Makes data/runs/SPLIT/rrf.txt,
data/runs/SPLIT/hybrid.txt and metrics/fuse.json. The weight is the best one on validation topics,
never on test topics. Without validation topics, it is fuse.default_weight.

    python -m stages.fuse
"""

from dpr.base.files import write_json
from dpr.measures import PRIMARY_MEASURE
from dpr.records import beir
from dpr.runs.fusion import DENSE_AND_BM25, Fusion, best_weight
from dpr.runs.trec import read_run, write_run
from dpr.settings import load_settings
from stages.run import run


def main() -> str:
    settings = load_settings("params.yaml")
    depth, steps = settings.search.top_k, settings.fuse.weight_steps
    splits = {split: beir.read_qrels("data/collection", split) for split in ("valid", "test")}
    fusions = {split: fusion_of(split) for split, qrels in splits.items() if qrels}
    tried: dict[float, float] = {}
    if "valid" in fusions:
        weights = [step / steps for step in range(steps + 1)]
        tried = fusions["valid"].choose_weight(weights, splits["valid"])
    best = best_weight(tried, settings.fuse.default_weight)
    for split in splits.keys() - fusions.keys():
        for system in ("rrf", "hybrid"):
            write_run(f"data/runs/{split}/{system}.txt", {}, tag=system)
    for split, fusion in fusions.items():
        rrf = fusion.reciprocal_rank(settings.fuse.rrf_k, depth)
        write_run(f"data/runs/{split}/rrf.txt", rrf, tag="rrf")
        hybrid = fusion.weighted(best, depth)
        write_run(f"data/runs/{split}/hybrid.txt", hybrid, tag="hybrid")
    valid = {PRIMARY_MEASURE: tried.get(best)}
    write_json("metrics/fuse.json", {"dense_weight": best, "valid": valid})
    return f"dense with weight {best}, of {len(tried)} tried on validation topics"


def fusion_of(split: str) -> Fusion:
    files = [f"data/runs/{split}/{system}.txt" for system in ("dense", "bm25")]
    return Fusion.of(*map(read_run, files), minima=DENSE_AND_BM25)


if __name__ == "__main__":
    run(main)
