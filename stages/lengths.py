"""lengths: tokens of queries and passages, searched and trained on, and the share that is cut."""

import json

from dpr import checkpoint, runtime
from dpr.collections import beir
from dpr.files import read_json, write_json
from dpr.lengths import spaced, statistics, token_lengths
from dpr.settings import load_settings
from stages import run


def main() -> None:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads)
    encoder = checkpoint.load("data/encoders/zero_shot")
    spec = encoder.spec
    train_limit = settings.train.passage_max_length or spec.passage_max_length

    count = read_json("data/manifest.json")["collection"]["passages"]["count"]
    passages = spaced(beir.read_corpus("data/collection"), count)
    queries = beir.read_queries("data/collection").values()

    pairs = beir.read_pairs("data/training")
    used = {p for pair in pairs for p in (pair.passage_id, *pair.negative_ids)}
    asked = {pair.query_id for pair in pairs}
    trained = (p for p in beir.read_corpus("data/training") if p.id in used)
    train_queries = (q for q in beir.read_queries("data/training").values() if q.id in asked)

    measured = {}
    for name, of_passages, of_queries, limit in (
        ("collection", passages, queries, spec.passage_max_length),
        ("train", spaced(trained, len(used)), train_queries, train_limit),
    ):
        texts = (spec.passage_prefix + p.contents(settings.data.separator) for p in of_passages)
        lengths = token_lengths(encoder.tokenizer, texts)
        measured[f"{name}_passages"] = statistics(lengths, limit)
        lengths = token_lengths(encoder.tokenizer, (spec.query_prefix + q.text for q in of_queries))
        measured[f"{name}_queries"] = statistics(lengths, spec.query_max_length)
    write_json("metrics/lengths.json", measured)
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    run(main)
