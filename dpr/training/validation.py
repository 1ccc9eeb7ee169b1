"""Validation during training: the loss over validation pairs, and measures over a ranking.

It ranks a pool of passages, or all passages of the training folder.
"""

import itertools
from collections.abc import Iterator, Sequence
from statistics import fmean

import numpy as np
import torch

from dpr import measures
from dpr.base.errors import InputError
from dpr.encoders import formats
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.tokens import Tokenizer, tokenize_queries
from dpr.measures import PRIMARY_MEASURE
from dpr.records import beir, pool
from dpr.records.corpus import Corpus
from dpr.records.run import ranking
from dpr.records.types import Qrels, Scores, is_relevant
from dpr.settings import VALIDATION_DEPTH, TrainSettings
from dpr.training.batch import SampledPair, passages_of, targets_of
from dpr.training.log import Validation
from dpr.training.loss import Id, Targets, in_batch_loss
from dpr.training.passages import FixedPassages

BATCH_TOKENS = 2048
WINDOW = 8192  # passages in memory at a time, if all are ranked


class RankedPassages:
    """The passages that a validation ranks, and `qrels` of the topics that have a relevant one.

    Args:
        corpus: a training folder, with qrels/valid.tsv.
        size: of the pool; None: all passages.
        fixed: the vectors of all passages, if they are not trained.
    Raises:
        InputError: if no topic has a relevant passage, and for a pool too small for the sources.
    """

    def __init__(self, corpus: Corpus, size: int | None, fixed: FixedPassages | None):
        self.corpus, self.fixed = corpus, fixed
        judged = beir.read_qrels(corpus.folder, "valid")
        wanted = {passage_id for grades in judged.values() for passage_id in grades}
        known = {passage_id for passage_id in corpus.ids if passage_id in wanted}
        self.qrels = pool.sample_topics(_only(judged, known), len(judged))
        if not self.qrels:
            raise InputError(
                f"{corpus.folder}/qrels/valid.tsv: no relevant passage; nothing to validate"
            )
        self.queries = {q.id: q for q in beir.stream_queries(corpus.folder) if q.id in self.qrels}
        self.pool: list[str] | None = None
        if size is not None:
            self._draw_pool(size)

    def _draw_pool(self, size: int) -> None:
        corpus, source_of = self.corpus, {q.id: q.mixture_source for q in self.queries.values()}
        sources = len(set(source_of.values()))
        if size < 2 * sources:
            raise InputError(
                f"params.yaml: train.valid_passages: {size} are too few for {sources} sources "
                f"that validate; give at least {2 * sources}"
            )
        # Each topic needs a passage at least.
        qrels = pool.sample_by_source(self.qrels, source_of, size // 2)
        self.pool = pool.draw_pool(qrels, corpus.ids, size)
        inside = set(self.pool)
        self.qrels = _only(qrels, inside)
        self.rows = np.flatnonzero([passage_id in inside for passage_id in corpus.ids])
        texts = corpus.texts() if not self.fixed else ()
        self.texts = [(passage_id, text) for passage_id, text in texts if passage_id in inside]

    def windows(
        self, encoder: DualEncoder, precision: str
    ) -> Iterator[tuple[Sequence[str], torch.Tensor]]:
        """(ids, (N, D) vectors) of the passages, in the order of the corpus."""
        if self.fixed and self.pool:
            yield self.pool, torch.from_numpy(self.fixed.vectors.sample(self.rows))
        elif self.fixed:
            vectors = self.fixed.vectors
            for start in range(0, len(vectors.ids), WINDOW):
                block = slice(start, start + WINDOW)
                yield vectors.ids[block], torch.from_numpy(vectors.read(block.start, block.stop))
        else:
            texts = iter(self.texts) if self.pool else self.corpus.texts()
            size = len(self.pool) if self.pool else WINDOW
            while window := list(itertools.islice(texts, size)):
                tokens = encoder.tokenize([text for _, text in window], "passage")
                array = encoder.embed(tokens, "passage", BATCH_TOKENS, precision)
                yield [passage_id for passage_id, _ in window], torch.from_numpy(array)


def _only(qrels: Qrels, passage_ids: set[str]) -> Qrels:
    return {q: {p: g for p, g in grades.items() if p in passage_ids} for q, grades in qrels.items()}


class Validator:
    """The tokenized validation topics and their passages; `validate` scores an encoder on them.

    Its loss is over single pairs with in-batch negatives, at the initial temperature: compare it
    only with a training loss of that kind.

    Args:
        corpus: a training folder, with qrels/valid.tsv.
        fixed: the vectors of the passages, if they are not trained.
        prompts: one query prompt per training source, in place of the encoder's prefix.
    Raises:
        InputError: if no topic has a relevant passage.
    """

    def __init__(
        self,
        corpus: Corpus,
        encoder: DualEncoder,
        settings: TrainSettings,
        *,
        fixed: FixedPassages | None = None,
        prompts: Sequence[str] | None = None,
    ):
        self.settings = settings
        self.precision = formats.training_format(settings.precision, encoder.device)
        self.ranked = RankedPassages(corpus, settings.valid_passages, fixed)
        self.qrels = self.ranked.qrels
        self.query_ids = list(self.qrels)
        queries = [self.ranked.queries[query_id] for query_id in self.query_ids]
        self.own = [query.id for query in queries if query.is_passage]
        tokenizer = Tokenizer(encoder.tokenizer.backend_tokenizer, encoder.spec)
        self.tokens = tokenize_queries(tokenizer, queries, prompts)
        self.batches = _batches(self.qrels, self.own, settings.batch_size)

    def validate(self, encoder: DualEncoder, step: int) -> Validation:
        """The encoder's loss and measures after a step."""
        encoder.eval()
        vectors = encoder.embed(self.tokens, "query", BATCH_TOKENS, self.precision)
        queries = torch.from_numpy(vectors)
        paired = {p for targets in self.batches for p in targets.passage_ids}
        scores_of: dict[Id, torch.Tensor] = {}  # passage of a pair -> (Q,) scores
        run: Scores = {query_id: {} for query_id in self.query_ids}
        for ids, window in self.ranked.windows(encoder, self.precision):
            scores = encoder.similarity.scores(queries, window)
            scores_of |= {p: scores[:, i].clone() for i, p in enumerate(ids) if p in paired}
            for query_id, row in zip(self.query_ids, scores, strict=True):
                last = row.topk(min(VALIDATION_DEPTH, len(row))).values[-1]
                best = torch.nonzero(row >= last).squeeze(1)  # ties are cut by id
                new = zip((ids[i] for i in best.tolist()), row[best].tolist(), strict=True)
                run[query_id] = dict(ranking(run[query_id] | dict(new))[:VALIDATION_DEPTH])
        for query_id in self.own:  # a query does not find itself
            run[query_id].pop(query_id, None)
        loss = np.mean([self._loss(scores_of, targets) for targets in self.batches])
        measured = self._measured(run)
        return Validation(step, float(loss), measured[self.settings.valid_measure], measured)

    def _loss(self, scores_of: dict[Id, torch.Tensor], targets: Targets) -> float:
        rows = [self.query_ids.index(query_id) for query_id in targets.query_ids]
        scores = torch.stack([scores_of[p][rows] for p in targets.passage_ids], dim=1)
        return in_batch_loss(scores, targets, self.settings.temperature).item()

    def _measured(self, run: Scores) -> dict[str, float]:
        """The measures; for a mixture the mean over its sources, then each source's own."""
        names = list(dict.fromkeys([PRIMARY_MEASURE, self.settings.valid_measure]))
        by_source: dict[int, Qrels] = {}
        for query_id, grades in self.qrels.items():
            source = self.ranked.queries[query_id].mixture_source
            by_source.setdefault(source, {})[query_id] = grades
        values = {
            source: measures.means(measures.by_topic(qrels, run, names))
            for source, qrels in sorted(by_source.items())
        }
        mean = {name: fmean(own[name] for own in values.values()) for name in names}
        if len(values) == 1:
            return mean
        return mean | {f"{n} of {source}": own[n] for source, own in values.items() for n in names}


def _batches(qrels: Qrels, own: list[str], size: int) -> list[Targets]:
    """Each topic with its passages of the highest grade, in batches of pairs."""
    pairs = [
        SampledPair(query_id, passage_id) for query_id, passage_id, _ in pool.best_pairs(qrels)
    ]
    size = min(size, len(pairs))
    relevant = {
        q: {p for p, grade in grades.items() if is_relevant(grade)} for q, grades in qrels.items()
    }
    for query_id in own:
        relevant[query_id].add(query_id)
    cut = [pairs[start : start + size] for start in range(0, len(pairs) - size + 1, size)]
    return [targets_of(batch, passages_of(batch), relevant.__getitem__) for batch in cut]
