"""A small collection for the whole graph: 70 topics, each a word, with 20 passages each.

As in TREC-COVID, some passages lack a title, and one lacks a text too. One more has no word for
BM25.
"""

import random

from dpr.records import beir
from dpr.records.types import Judgment, Passage, Query

SYLLABLES = ["heart", "lung", "liver", "bone", "skin", "blood", "nerve", "brain", "eye"]
TEST_TOPICS, VALID_TOPICS, TOPICS = 20, 10, 70


def write(folder):
    """Write it as a BEIR folder, to search and to train on."""
    rng = random.Random(0)
    words = [f"{first}{last}" for first in SYLLABLES for last in SYLLABLES][:TOPICS]
    passages, judgments = [], []
    for number, word in enumerate(words):
        for n in range(20):
            text = " ".join([word, *rng.choices(words, k=5)])
            passages.append(Passage(f"p{number}-{n}", word if n % 2 else "", text))
            judgments.append(Judgment(f"q{number}", f"p{number}-{n}", 1 + n % 2))
    for name, text in (("empty", ""), ("stop-words", "and of the")):
        passages.insert(0, Passage(name, "", text))
        # relevant in testing, validation and training
        judgments += [Judgment(f"q{n}", name, 1) for n in (0, TEST_TOPICS, TOPICS - 1)]
    beir.write_passages(folder, passages)
    beir.write_queries(folder, [Query(f"q{i}", f"about {word}") for i, word in enumerate(words)])
    held_out = TEST_TOPICS + VALID_TOPICS
    splits = {"test": (0, TEST_TOPICS), "valid": (TEST_TOPICS, held_out)}
    for split, bounds in (splits | {"train": (held_out, TOPICS)}).items():
        inside = {f"q{i}" for i in range(*bounds)}
        beir.write_qrels(folder, split, [j for j in judgments if j.query_id in inside])
