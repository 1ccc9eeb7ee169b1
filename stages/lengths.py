"""lengths: tokens of queries and passages, and the share that is cut."""

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
    manifest = read_json("data/manifest.json")
    train_limit = min(
        settings.train.passage_max_length or spec.passage_max_length, spec.passage_max_length
    )
    measured = {}
    for part, passage_limit in (("collection", spec.passage_max_length), ("train", train_limit)):
        folder = "data/collection" if part == "collection" else "data/training"
        count = manifest[part]["passages"]["count"]
        passages = (
            spec.passage_prefix + passage.contents(settings.data.separator)
            for passage in spaced(beir.read_corpus(folder), count)
        )
        queries = (spec.query_prefix + query.text for query in beir.read_queries(folder).values())
        for name, texts, limit in (
            ("passages", passages, passage_limit),
            ("queries", queries, spec.query_max_length),
        ):
            lengths = token_lengths(encoder.tokenizer, texts)
            measured[f"{part}_{name}"] = statistics(lengths, limit)
    write_json("metrics/lengths.json", measured)
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    run(main)
