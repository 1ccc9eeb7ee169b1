"""Validation while training: the loss over validation pairs, and measures over a ranking.

What is ranked is a pool, or all passages of the training data.
"""

from collections.abc import Sequence
from statistics import fmean

import numpy as np
import torch

from dpr import measures
from dpr.encoders import formats
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.prompts import tokenize_queries
from dpr.encoders.tokens import Tokenizer
from dpr.measures import HEADLINE
from dpr.records import beir, pool
from dpr.records.corpus import Corpus
from dpr.records.ranking import ranking
from dpr.records.types import Qrels, Scores, is_relevant
from dpr.settings import VALIDATION_DEPTH, TrainSettings
from dpr.training.batch import Drawn, Id, Targets, passages_of, targets_of
from dpr.training.history import Validation
from dpr.training.loss import in_batch_loss
from dpr.training.passages import FixedPassages
from dpr.training.ranked import BATCH_TOKENS, RankedPassages


class Validator:
    """The tokenized validation topics and their passages; `validate` scores an encoder on them.

    Its loss is over single pairs with in-batch negatives, at the initial temperature; only a
    training loss of that kind compares with it.

    Args:
        corpus: a training folder, with qrels/valid.tsv.
        settings: of them, the size of the pool, the measure, batch size, temperature and precision.
        fixed: the vectors of the passages, if they are not trained.
        prompts: what goes before the queries of each source, in place of the encoder's prefix.
    Raises:
        InputError: if no topic has a relevant passage.
    """

    def __init__(
        self,
        corpus: Corpus,
        encoder: DualEncoder,
        settings: TrainSettings,
        fixed: FixedPassages | None = None,
        prompts: Sequence[str] | None = None,
    ):
        self.ranked = RankedPassages(corpus, settings.valid_passages, fixed)
        self.qrels = self.ranked.qrels
        known = {q.id: q for q in beir.stream_queries(corpus.folder) if q.id in self.qrels}
        queries = [known[query_id] for query_id in self.qrels]
        self.query_ids = list(self.qrels)
        self.own = [query.id for query in queries if query.is_passage]
        tokenizer = Tokenizer(encoder.tokenizer.backend_tokenizer, encoder.spec)
        self.queries = tokenize_queries(tokenizer, queries, prompts)
        self.batches = _batches(self.qrels, self.own, settings.batch_size)
        self.settings = settings
        self.format = formats.training_format(settings.precision, encoder.device)

    def validate(self, encoder: DualEncoder, step: int) -> Validation:
        """The encoder's loss and measures after a step."""
        encoder.eval()
        queries = torch.from_numpy(encoder.embed(self.queries, "query", BATCH_TOKENS, self.format))
        paired = {p for targets in self.batches for p in targets.passage_ids}
        scores_of: dict[Id, torch.Tensor] = {}  # by each query, of the passages of the pairs
        run: Scores = {query_id: {} for query_id in self.query_ids}
        for ids, vectors in self.ranked.windows(encoder, self.format):
            scores = encoder.similarity.scores(queries, vectors)
            scores_of |= {p: scores[:, i].clone() for i, p in enumerate(ids) if p in paired}
            for query_id, row in zip(self.query_ids, scores, strict=True):
                last = row.topk(min(VALIDATION_DEPTH, len(row))).values[-1]
                at = torch.nonzero(row >= last).squeeze(1)  # ties are cut by id
                found = zip((ids[i] for i in at.tolist()), row[at].tolist(), strict=True)
                run[query_id] = dict(ranking(run[query_id] | dict(found))[:VALIDATION_DEPTH])
        for query_id in self.own:  # a query does not find itself
            run[query_id].pop(query_id, None)
        losses = [self._loss(scores_of, targets) for targets in self.batches]
        measured = self._measured(run)
        score = measured[self.settings.valid_measure]
        return Validation(step, float(np.mean(losses)), score, measured)

    def _loss(self, scores_of: dict[Id, torch.Tensor], targets: Targets) -> float:
        rows = [self.query_ids.index(query_id) for query_id in targets.query_ids]
        scores = torch.stack([scores_of[p][rows] for p in targets.passage_ids], dim=1)
        temperature = self.settings.temperature
        return in_batch_loss(scores, targets.pairs, targets.relevant, temperature).item()

    def _measured(self, run: Scores) -> dict[str, float]:
        """The measures; with several sources of their means, after them each source's own."""
        names = list(dict.fromkeys([HEADLINE, self.settings.valid_measure]))
        of_source: dict[int, Qrels] = {}
        for query_id, grades in self.qrels.items():
            of_source.setdefault(self.ranked.source_of[query_id], {})[query_id] = grades
        found = {
            source: measures.means(measures.by_topic(qrels, run, names))
            for source, qrels in sorted(of_source.items())
        }
        mean = {name: fmean(own[name] for own in found.values()) for name in names}
        if len(found) == 1:
            return mean
        by_source = {f"{n} of {s}": found[s][n] for s in found for n in names}
        return mean | by_source


def _batches(qrels: Qrels, own: list[str], size: int) -> list[Targets]:
    """Each topic with its passages of the highest grade, in batches of pairs."""
    pairs = [Drawn(query_id, passage_id) for query_id, passage_id, _ in pool.best_pairs(qrels)]
    size = min(size, len(pairs))
    relevant = {
        q: {p for p, grade in grades.items() if is_relevant(grade)} for q, grades in qrels.items()
    }
    for query_id in own:
        relevant[query_id].add(query_id)
    cut = [pairs[start : start + size] for start in range(0, len(pairs) - size + 1, size)]
    return [targets_of(batch, passages_of(batch), relevant.__getitem__) for batch in cut]
