"""Validation during training: a loss over validation pairs, and measures over a ranking.

It ranks a pool of passages, or all passages of the training folder. If documents are cut into
passages, it ranks documents by their best passage.
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
from dpr.encoders.tokens import tokenize_queries
from dpr.measures import PRIMARY_MEASURE
from dpr.records import beir, pool
from dpr.records.corpus import Corpus
from dpr.records.run import ranking
from dpr.records.types import Qrels, Scores, is_relevant
from dpr.settings import VALIDATION_DEPTH, TrainSettings
from dpr.training.batch import SampledPair, full_batches, passages_of, targets_of
from dpr.training.log import Validation
from dpr.training.loss import Id, Targets, in_batch_loss
from dpr.training.passages import FixedPassages

BATCH_TOKENS = 2048
WINDOW = 8192  # passages in memory at a time, if all are ranked


class Validator:
    """The tokenized validation topics and the passages to rank; `validate` scores an encoder.

    The loss is always the in-batch softmax over single pairs, at the initial temperature, whatever
    loss is trained: compare it only with a training loss of that kind.

    Args:
        corpus: a training folder, with qrels/valid.tsv.
        fixed: the vectors of all passages, if they are not trained.
        prompts: one query prompt per training source, in place of the encoder's prefix.
    Raises:
        InputError: if no topic has a relevant passage, or the pool is too small for the sources.
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
        self.corpus, self.settings, self.fixed = corpus, settings, fixed
        self.precision = formats.training_format(settings.precision, encoder.device)
        self.qrels = _read_qrels(corpus)
        self.queries = {q.id: q for q in beir.stream_queries(corpus.folder) if q.id in self.qrels}
        self.pool: list[str] | None = None
        if settings.valid_passages is not None:
            self._draw_pool(settings.valid_passages)
        self.query_ids = list(self.qrels)
        queries = [self.queries[query_id] for query_id in self.query_ids]
        self.also_passages = [query.id for query in queries if query.is_passage]
        self.tokens = tokenize_queries(encoder.tokenizer, queries, prompts)
        self.batches = _batches(self.qrels, self.also_passages, settings.batch_size)

    def _draw_pool(self, size: int) -> None:
        """Draw the topics and the passages to rank; keep the judgments of these passages."""
        source_of = {q.id: q.mixture_source for q in self.queries.values()}
        sources = len(set(source_of.values()))
        if size < 2 * sources:
            raise InputError(
                f"params.yaml: train.valid_passages: {size} are too few for {sources} sources "
                f"that validate; give at least {2 * sources}"
            )
        # Each topic needs at least one passage.
        qrels = pool.sample_by_source(self.qrels, source_of, size // 2)
        documents = set(pool.draw_pool(qrels, self.corpus.documents, size))
        self.qrels = _only(qrels, documents)
        ids = self.corpus.ids
        self.pool = [p for p in ids if self.corpus.document(p) in documents]
        inside = set(self.pool)
        if self.fixed:
            self.pool_rows = np.flatnonzero([passage_id in inside for passage_id in ids])
        else:
            self.pool_texts = [item for item in self.corpus.texts() if item[0] in inside]

    def _windows(self, encoder: DualEncoder) -> Iterator[tuple[Sequence[str], torch.Tensor]]:
        """(ids, (N, D) vectors) of the passages to rank, in the order of the corpus."""
        embeddings = self.fixed and self.fixed.embeddings
        if embeddings and self.pool:
            yield self.pool, torch.from_numpy(embeddings.sample(self.pool_rows))
        elif embeddings:
            for start in range(0, len(embeddings.ids), WINDOW):
                stop = start + WINDOW
                yield embeddings.ids[start:stop], torch.from_numpy(embeddings.read(start, stop))
        else:
            texts = iter(self.pool_texts) if self.pool else self.corpus.texts()
            while window := list(itertools.islice(texts, len(self.pool or ()) or WINDOW)):
                tokens = encoder.tokenize([text for _, text in window], "passage")
                array = encoder.embed(tokens, "passage", BATCH_TOKENS, self.precision)
                yield [passage_id for passage_id, _ in window], torch.from_numpy(array)

    def validate(self, encoder: DualEncoder, step: int) -> Validation:
        """The encoder's loss and measures after a step."""
        encoder.eval()
        vectors = encoder.embed(self.tokens, "query", BATCH_TOKENS, self.precision)
        queries = torch.from_numpy(vectors).to(encoder.device)
        paired = {p for targets in self.batches for p in targets.passage_ids}
        scores_of: dict[Id, torch.Tensor] = {}  # passage (or document) of a pair -> (Q,) scores
        run: Scores = {query_id: {} for query_id in self.query_ids}
        for ids, window in self._windows(encoder):
            scores = encoder.similarity.scores(queries, window.to(encoder.device)).cpu()
            if self.corpus.cut:
                ids, scores = _of_documents(list(map(self.corpus.document, ids)), scores)
            for i, p in enumerate(ids):
                if p in paired:  # a document may extend over two windows
                    scores_of[p] = torch.maximum(scores_of.get(p, scores[:, i]), scores[:, i])
            for query_id, row in zip(self.query_ids, scores, strict=True):
                last = row.topk(min(VALIDATION_DEPTH, len(row))).values[-1]
                best = torch.nonzero(row >= last).squeeze(1)  # ties are cut by id
                merged = run[query_id]
                for i, score in zip(best.tolist(), row[best].tolist(), strict=True):
                    merged[ids[i]] = max(score, merged.get(ids[i], score))
                run[query_id] = dict(ranking(merged)[:VALIDATION_DEPTH])
        for query_id in self.also_passages:  # a query does not find itself
            run[query_id].pop(query_id, None)
        loss = np.mean([self._loss(scores_of, targets) for targets in self.batches])
        measured = self._measured(run)
        return Validation(step, float(loss), measured[self.settings.valid_measure], measured)

    def _loss(self, scores_of: dict[Id, torch.Tensor], targets: Targets) -> float:
        """The in-batch softmax, whatever loss is trained."""
        rows = [self.query_ids.index(query_id) for query_id in targets.query_ids]
        scores = torch.stack([scores_of[p][rows] for p in targets.passage_ids], dim=1)
        return in_batch_loss(scores, targets, self.settings.temperature).item()

    def _measured(self, run: Scores) -> dict[str, float]:
        """The measures. Of a mixture: the mean over its sources, then each source's."""
        names = list(dict.fromkeys([PRIMARY_MEASURE, self.settings.valid_measure]))
        by_source: dict[int, Qrels] = {}
        for query_id, grades in self.qrels.items():
            source = self.queries[query_id].mixture_source
            by_source.setdefault(source, {})[query_id] = grades
        values = {
            source: measures.means(measures.by_topic(qrels, run, names))
            for source, qrels in sorted(by_source.items())
        }
        mean = {name: fmean(of_source[name] for of_source in values.values()) for name in names}
        if len(values) == 1:
            return mean
        return mean | {f"{n} of {s}": values[s][n] for s in values for n in names}


def _read_qrels(corpus: Corpus) -> Qrels:
    """The judgments of passages in the corpus, for the topics with a relevant one."""
    judged = beir.read_qrels(corpus.folder, "valid")
    wanted = {passage_id for grades in judged.values() for passage_id in grades}
    known = {document for document in corpus.documents if document in wanted}
    qrels = pool.sample_topics(_only(judged, known), len(judged))
    if not qrels:
        raise InputError(
            f"{corpus.folder}/qrels/valid.tsv: no relevant passage; nothing to validate"
        )
    return qrels


def _of_documents(documents: list[str], scores: torch.Tensor) -> tuple[list[str], torch.Tensor]:
    """(Q, P) scores of passages -> the D different documents, and (Q, D) of their best passages."""
    places = {document: i for i, document in enumerate(dict.fromkeys(documents))}
    index = torch.tensor([places[document] for document in documents]).expand(len(scores), -1)
    best = torch.full((len(scores), len(places)), -torch.inf)
    return list(places), best.scatter_reduce(1, index, scores, "amax")


def _only(qrels: Qrels, passage_ids: set[str]) -> Qrels:
    return {q: {p: g for p, g in grades.items() if p in passage_ids} for q, grades in qrels.items()}


def _batches(qrels: Qrels, also_passages: list[str], size: int) -> list[Targets]:
    """Each topic with its passages of the highest grade, in batches of pairs."""
    pairs = [SampledPair(pair.query_id, pair.passage_id) for pair in pool.best_pairs(qrels)]
    relevant = {
        q: {p for p, grade in grades.items() if is_relevant(grade)} for q, grades in qrels.items()
    }
    for query_id in also_passages:
        relevant[query_id].add(query_id)
    batches = full_batches(pairs, min(size, len(pairs)))
    return [targets_of(batch, passages_of(batch), relevant.__getitem__) for batch in batches]
