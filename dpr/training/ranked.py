"""The passages that a validation ranks: a pool, or all of the training data."""

import itertools
from collections.abc import Iterator

import numpy as np
import torch

from dpr.base.errors import InputError
from dpr.encoders.dual_encoder import DualEncoder
from dpr.records import beir, pool
from dpr.records.corpus import Corpus
from dpr.records.types import Qrels
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
