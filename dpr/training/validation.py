"""Validation while training: the loss and nDCG@10 over a pool of passages.

Ranking the whole collection would take longer than the training. The pool holds judged passages
of every validation topic, filled up with passages drawn by seed; nDCG@10 over it is higher than
over the collection, and good for comparing steps, and experiments of the same training data.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from dpr import measures
from dpr.collections import beir
from dpr.collections.records import Pair
from dpr.encoder import DualEncoder
from dpr.errors import InputError
from dpr.measures import Qrels
from dpr.settings import TrainSettings
from dpr.training.loss import in_batch_loss
from dpr.training.pairs import Batch

BATCH_TOKENS = 2048
SEED = 42  # of the pool: trainings with other seeds are scored on the same one


class Validation(NamedTuple):
    step: int
    loss: float
    ndcg: float


class Validator:
    """Holds the tokenized validation topics and their pool; `validate` scores an encoder.

    Args:
        folder: in BEIR layout, with qrels/valid.tsv.
        settings: `valid_passages` is the size of the pool; batch size and temperature, before it
            is learned, are those of the training. The loss has in-batch negatives alone and draws
            pairs one by one: it compares with that of a training that does the same.
    Raises:
        InputError: when there is no topic with a relevant passage.
    """

    def __init__(
        self,
        folder: Path,
        encoder: DualEncoder,
        separator: str,
        settings: TrainSettings,
    ):
        passage_ids = [p.id for p in beir.read_corpus(folder)]
        there = set(passage_ids)
        judged = {
            query_id: {p: grade for p, grade in grades.items() if p in there}
            for query_id, grades in beir.read_qrels(folder, "valid").items()
        }
        qrels = sample_topics(judged, settings.valid_passages // 2, SEED)
        if not qrels:
            raise InputError(f"{folder}/qrels/valid.tsv: no relevant passage; nothing to validate")
        queries = beir.read_queries(folder)
        pool = draw_pool(qrels, passage_ids, settings.valid_passages, SEED)
        inside = set(pool)
        self.qrels = {q: {p: g for p, g in qrels[q].items() if p in inside} for q in qrels}
        self.query_ids, self.passage_ids = list(qrels), pool
        self.queries = encoder.tokenize([queries[q].text for q in qrels], "query")
        texts = {p.id: p.contents(separator) for p in beir.read_corpus(folder) if p.id in inside}
        self.passages = encoder.tokenize([texts[p] for p in pool], "passage")
        pairs = _best_pairs(self.qrels, SEED)
        size = min(settings.batch_size, len(pairs))
        self.batches = [Batch.of(part, self.qrels) for part in _full_batches(pairs, size)]
        self.temperature = settings.temperature
        self.precision = settings.precision

    def validate(self, encoder: DualEncoder, step: int) -> Validation:
        """The in-batch loss over validation pairs and nDCG@10 over the pool."""
        encoder.eval()
        queries = encoder.embed(self.queries, "query", BATCH_TOKENS, self.precision)
        passages = encoder.embed(self.passages, "passage", BATCH_TOKENS, self.precision)
        query_row = {query_id: row for row, query_id in enumerate(self.query_ids)}
        passage_row = {passage_id: row for row, passage_id in enumerate(self.passage_ids)}
        scores = encoder.similarity.scores(torch.from_numpy(queries), torch.from_numpy(passages))
        losses = [
            in_batch_loss(
                scores[[query_row[query_id] for query_id in batch.query_ids]][
                    :, [passage_row[passage_id] for passage_id in batch.passage_ids]
                ],
                batch.pairs,
                batch.relevant,
                self.temperature,
            ).item()
            for batch in self.batches
        ]
        run = {
            query_id: dict(zip(self.passage_ids, row, strict=True))
            for query_id, row in zip(self.query_ids, scores.tolist(), strict=True)
        }
        ndcg = measures.means(measures.by_topic(self.qrels, run, ["nDCG@10"]))["nDCG@10"]
        return Validation(step, float(np.mean(losses)), ndcg)


def sample_topics(qrels: Qrels, count: int, seed: int) -> Qrels:
    """At most `count` topics with a relevant passage, drawn by seed: half the pool has room."""
    useful = [query_id for query_id, grades in qrels.items() if max(grades.values(), default=0) > 0]
    if len(useful) > count:
        useful = sorted(random.Random(seed).sample(useful, count))
    return {query_id: qrels[query_id] for query_id in useful}


def draw_pool(qrels: Qrels, passage_ids: list[str], size: int, seed: int) -> list[str]:
    """Passages to rank: relevant ones of each topic in turn, for up to half, then any, by seed.

    Returns: ids in the order of the collection, all of them where it has no more than `size`.
    """
    rng = random.Random(seed)
    remaining = []
    for grades in qrels.values():
        relevant = [p for p, grade in grades.items() if grade > 0]
        rng.shuffle(relevant)
        remaining.append(sorted(relevant, key=lambda p, g=grades: g[p]))  # best last, for pop()
    chosen: set[str] = set()
    first_round = True
    while any(remaining) and (first_round or len(chosen) < size // 2):
        chosen.update(topic.pop() for topic in remaining if topic)
        first_round = False
    others = [p for p in passage_ids if p not in chosen]
    chosen.update(rng.sample(others, min(size - len(chosen), len(others))))
    return [p for p in passage_ids if p in chosen]


def _best_pairs(qrels: Qrels, seed: int) -> list[Pair]:
    """Each topic with its passages of the best grade in the pool, in an order drawn by seed."""
    pairs = [
        Pair(query_id, passage_id)
        for query_id, grades in qrels.items()
        for passage_id, grade in grades.items()
        if grade > 0 and grade == max(grades.values())
    ]
    random.Random(seed).shuffle(pairs)
    return pairs


def _full_batches(pairs: list[Pair], size: int) -> Iterable[list[Pair]]:
    return (pairs[start : start + size] for start in range(0, len(pairs) - size + 1, size))
