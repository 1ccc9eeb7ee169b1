"""lengths: tokens of queries and passages, without prompts, and the share that is truncated.

Reads data/collection, data/training, data/manifest.json and the tokenizer of
data/encoders/zero_shot. Makes metrics/lengths.json. In the training data, it only measures the
queries and passages of pairs.

    python -m stages.lengths
"""

import sys
from pathlib import Path

from dpr.base.files import read_json, write_json
from dpr.encoders.tokens import Tokenizer
from dpr.evaluation.lengths import spaced, statistics, token_lengths, truncated_texts
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.settings import load_settings
from stages.run import run

COLLECTION, TRAINING = Path("data/collection"), Path("data/training")


def main() -> str:
    settings = load_settings("params.yaml")
    tokenizer = Tokenizer.open(Path("data/encoders/zero_shot"))
    spec, separator = tokenizer.spec, settings.data.separator

    count = read_json("data/manifest.json")["collection"]["passages"]["count"]
    searched = (text for _, text in Corpus(COLLECTION, separator).texts())
    training = Corpus(TRAINING, separator, settings.data.cut)
    queries = (query.text for query in beir.read_queries(COLLECTION).values())

    pairs = beir.read_pairs(TRAINING)
    used = {p for pair in pairs for p in (pair.passage_id, *pair.negative_ids)}
    trained_count = sum(training.passage_counts(used).values())
    asked = {pair.query_id for pair in pairs}
    trained = (text for p, text in training.texts() if training.document(p) in used)
    train_queries = (q.text for q in beir.read_queries(TRAINING).values() if q.id in asked)

    measured = {}
    for name, passage_texts, query_texts in (
        ("collection", spaced(searched, count), queries),
        ("train", spaced(trained, trained_count), train_queries),
    ):
        lengths = token_lengths(tokenizer, passage_texts, "passage")
        measured[f"{name}_passages"] = statistics(lengths, spec.passage.max_length)
        lengths = token_lengths(tokenizer, query_texts, "query")
        if len(lengths):  # a collection may have no queries
            measured[f"{name}_queries"] = statistics(lengths, spec.query.max_length)
    write_json("metrics/lengths.json", measured)
    if line := truncated_texts(measured):
        print(line, file=sys.stderr)
    shares = (f"{of.replace('_', ' ')} {found['truncated']:.1%}" for of, found in measured.items())
    return "truncated: " + ", ".join(shares)


if __name__ == "__main__":
    run(main)
