"""rerank: order the first passages of a run again by a cross-encoder, if rerank.model is set.

Reads the runs of rerank.run in data/runs, data/collection and data/reranker. The new score is a
weighted mean of the cross-encoder's and the run's scores, each scaled within the topic. The weight
is rerank.weight, else the best one on validation topics, without these fuse.default_weight. Makes
data/runs/SPLIT/reranked.txt and metrics/rerank.json. Without a model the runs are empty, and no
system `reranked` is compared.

    python -m stages.rerank
"""

from pathlib import Path

from dpr.base import runtime
from dpr.base.files import write_json
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Scores
from dpr.reranking.cross_encoder import (
    number_format,
    open_cross_encoder,
    score_first,
    with_rest,
)
from dpr.runs.fusion import Fusion, best_weight
from dpr.runs.trec import read_run, write_run
from dpr.settings import load_settings
from stages.run import run

COLLECTION, SPLITS = Path("data/collection"), ("valid", "test")


def main() -> str:
    settings = load_settings("params.yaml")
    options = settings.rerank
    if not options.model:
        for split in SPLITS:
            write_run(f"data/runs/{split}/reranked.txt", {}, tag="reranked")
        write_json("metrics/rerank.json", {"weight": None})
        return "no model, no system `reranked`"
    runtime.set_up(settings.threads)
    name = "data/reranker" if options.trains else options.model
    model = open_cross_encoder(name, "rerank.model", options.revision)
    corpus = Corpus(COLLECTION, settings.data.separator, settings.data.cut)
    questions = {query.id: query.text for query in beir.stream_queries(COLLECTION)}
    qrels = {split: beir.read_qrels(COLLECTION, split) for split in SPLITS}
    found, fusions = {}, {}
    for split in filter(qrels.__getitem__, SPLITS):
        found[split] = read_run(f"data/runs/{split}/{options.run}.txt")
        scored = score_first(model, found[split], questions, corpus, options.depth)
        fusions[split] = Fusion.of(scored, found[split].first(options.depth))
    tried: dict[float, float] = {}
    if options.weight is None and "valid" in fusions:
        steps = settings.fuse.weight_steps
        weights = [step / steps for step in range(steps + 1)]
        tried = fusions["valid"].choose_weight(weights, qrels["valid"])
    weight = best_weight(tried, settings.fuse.default_weight)
    if options.weight is not None:
        weight = options.weight
    for split in SPLITS:
        reranked: Scores = {}
        if split in fusions:
            reranked = with_rest(fusions[split].weighted(weight, options.depth), found[split])
        write_run(f"data/runs/{split}/reranked.txt", reranked, tag="reranked")
    valid = {options.run: tried.get(0.0), "model alone": tried.get(1.0)}
    valid |= {"reranked": tried.get(weight)}
    figures = {"weight": weight, "valid": valid, "format": number_format()}
    write_json("metrics/rerank.json", figures)
    return f"{options.model} with weight {weight} over {options.depth} passages of {options.run}"


if __name__ == "__main__":
    run(main)
