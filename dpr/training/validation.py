"""The passages that a validation ranks: a pool, or all of the training data.

Validation while training: the loss over validation pairs, and measures over a ranking.

What is ranked is a pool, or all passages of the training data.
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
from dpr.measures import HEADLINE
from dpr.records import beir, pool
from dpr.records.corpus import Corpus
from dpr.records.run import ranking
from dpr.records.types import Qrels, Scores, is_relevant
from dpr.settings import VALIDATION_DEPTH, TrainSettings
from dpr.training.batch import Drawn, Id, Targets, passages_of, targets_of
from dpr.training.log import Validation
from dpr.training.loss import in_batch_loss
from dpr.training.passages import FixedPassages

BATCH_TOKENS = 2048
WINDOW = 8192  # passages in memory at a time, if all are ranked


class RankedPassages:
    """The topics that a ranking can be judged by, in `qrels`, and the passages that are ranked.

    Args:
        corpus: a training folder, with qrels/valid.tsv.
        size: of the pool; None: all passages.
        fixed: the vectors of all passages, if they are not trained.
    Raises:
        InputError: if no topic has a relevant passage, and for a pool without room for each source.
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
        queries = beir.stream_queries(corpus.folder)
        self.source_of = {query.id: query.source for query in queries if query.id in self.qrels}
        sources = len(set(self.source_of.values()))
        if size is not None:
            if size < 2 * sources:
                raise InputError(
                    f"params.yaml: train.valid_passages: {size} are too few for {sources} sources "
                    f"that validate; give at least {2 * sources}"
                )
            # Room for a passage each.
            self.qrels = pool.sample_by_source(self.qrels, self.source_of, size // 2)
        self.pool: list[str] | None = None
        if size is not None:
            self.pool = pool.draw_pool(self.qrels, corpus.ids, size)
            inside = set(self.pool)
            self.qrels = _only(self.qrels, inside)
            self.rows = np.flatnonzero([passage_id in inside for passage_id in corpus.ids])
            texts = corpus.texts() if not fixed else ()
            self.texts = [(passage_id, text) for passage_id, text in texts if passage_id in inside]

    def windows(
        self, encoder: DualEncoder, format: str
    ) -> Iterator[tuple[list[str], torch.Tensor]]:
        """(ids, (N, D) vectors) of the passages, in the order of the corpus."""
        if self.fixed:
            yield from self._vectors(self.fixed)
            return
        texts = iter(self.texts) if self.pool else self.corpus.texts()
        size = len(self.pool) if self.pool else WINDOW
        while block := list(itertools.islice(texts, size)):
            tokens = encoder.tokenize([text for _, text in block], "passage")
            vectors = encoder.embed(tokens, "passage", BATCH_TOKENS, format)
            yield [passage_id for passage_id, _ in block], torch.from_numpy(vectors)

    def _vectors(self, fixed: FixedPassages) -> Iterator[tuple[list[str], torch.Tensor]]:
        if self.pool:
            yield self.pool, torch.from_numpy(fixed.vectors.sample(self.rows))
            return
        ids = fixed.vectors.ids
        for start in range(0, len(ids), WINDOW):
            vectors = fixed.vectors.read(start, start + WINDOW)
            yield list(ids[start : start + WINDOW]), torch.from_numpy(vectors)


def _only(qrels: Qrels, passage_ids: set[str]) -> Qrels:
    return {q: {p: g for p, g in grades.items() if p in passage_ids} for q, grades in qrels.items()}


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
