"""Validation while training: the loss over validation pairs, and nDCG@10 over a pool."""

import numpy as np
import torch

from dpr import measures
from dpr.base.errors import InputError
from dpr.encoders import formats
from dpr.encoders.dual_encoder import DualEncoder
from dpr.records import beir, pool
from dpr.records.corpus import Corpus
from dpr.settings import TrainSettings
from dpr.training.batch import targets_of, with_own_passages
from dpr.training.history import Validation
from dpr.training.loss import in_batch_loss

BATCH_TOKENS = 2048


class Validator:
    """The tokenized validation topics and their pool; `validate` scores an encoder on them.

    Its loss is over single pairs with in-batch negatives, at the initial temperature; only a
    training loss of that kind compares with it.

    Args:
        corpus: a training folder, with qrels/valid.tsv.
        settings: of them, the size of the pool, the batch size, temperature and precision.
    Raises:
        InputError: if no topic has a relevant passage.
    """

    def __init__(self, corpus: Corpus, encoder: DualEncoder, settings: TrainSettings):
        folder = corpus.folder
        passage_ids = [passage_id for passage_id, _ in corpus.texts()]
        known = set(passage_ids)
        judged = {
            query_id: {p: grade for p, grade in grades.items() if p in known}
            for query_id, grades in beir.read_qrels(folder, "valid").items()
        }
        qrels = pool.sample_topics(judged, settings.valid_passages // 2)  # room for a passage each
        if not qrels:
            raise InputError(f"{folder}/qrels/valid.tsv: no relevant passage; nothing to validate")
        queries = beir.read_queries(folder)
        self.passage_ids = pool.draw_pool(qrels, passage_ids, settings.valid_passages)
        inside = set(self.passage_ids)
        self.qrels = {q: {p: g for p, g in qrels[q].items() if p in inside} for q in qrels}
        self.query_ids = list(qrels)
        self.own = [query_id for query_id in qrels if queries[query_id].is_passage]
        self.queries = encoder.tokenize([queries[q].text for q in qrels], "query")
        texts = [text for passage_id, text in corpus.texts() if passage_id in inside]
        self.passages = encoder.tokenize(texts, "passage")
        pairs = pool.best_pairs(self.qrels)
        size = min(settings.batch_size, len(pairs))
        never = with_own_passages(self.qrels, queries.values())
        self.batches = [
            targets_of(pairs[start : start + size], never)
            for start in range(0, len(pairs) - size + 1, size)
        ]
        self.temperature = settings.temperature
        self.format = formats.training_format(settings.precision, encoder.device)

    def validate(self, encoder: DualEncoder, step: int) -> Validation:
        """The encoder's loss and nDCG@10 after a step."""
        encoder.eval()
        queries = encoder.embed(self.queries, "query", BATCH_TOKENS, self.format)
        passages = encoder.embed(self.passages, "passage", BATCH_TOKENS, self.format)
        scores = encoder.similarity.scores(torch.from_numpy(queries), torch.from_numpy(passages))
        row_of = {query_id: row for row, query_id in enumerate(self.query_ids)}
        column_of = {passage_id: column for column, passage_id in enumerate(self.passage_ids)}
        losses = []
        for targets in self.batches:
            rows = [row_of[query_id] for query_id in targets.query_ids]
            columns = [column_of[passage_id] for passage_id in targets.passage_ids]
            batch = scores[rows][:, columns]
            loss = in_batch_loss(batch, targets.pairs, targets.relevant, self.temperature)
            losses.append(loss.item())
        run = {
            query_id: dict(zip(self.passage_ids, row, strict=True))
            for query_id, row in zip(self.query_ids, scores.tolist(), strict=True)
        }
        for query_id in self.own:  # a query does not find itself
            run[query_id].pop(query_id, None)
        return Validation(step, float(np.mean(losses)), measures.headline(self.qrels, run))
