"""Training pairs by row number, and the batches drawn from them.

Memory holds a few dozen bytes per pair, and not its text.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from dpr.base.errors import InputError
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.tokens import Tokens
from dpr.records.corpus import Corpus
from dpr.records.ids import IdRows, among, hash64
from dpr.records.types import Pair
from dpr.settings import TrainSettings
from dpr.training import texts
from dpr.training.batch import Batch, Groups, SampledPair, passages_of, targets_of
from dpr.training.passages import FixedPassages, Teacher, TeacherFile
from dpr.training.texts import Ragged

Item = TypeVar("Item")


class PairIds(NamedTuple):
    """The ids of N pairs as digests, see `dpr.records.ids`."""

    queries: np.ndarray  # (N,) uint64
    passages: np.ndarray  # (N,) uint64
    negatives: np.ndarray  # (M,) uint64, pair by pair
    pair_of: np.ndarray  # (M,) int64, the pair of each negative

    @classmethod
    def of(cls, pairs: Iterable[Pair], with_negatives: bool) -> "PairIds":
        queries, passages, negatives, pair_of = array("Q"), array("Q"), array("Q"), array("q")
        for number, pair in enumerate(pairs):
            queries.append(hash64(pair.query_id))
            passages.append(hash64(pair.passage_id))
            for negative in pair.negative_ids if with_negatives else ():
                negatives.append(hash64(negative))
                pair_of.append(number)
        return cls(*map(np.asarray, (queries, passages, negatives, pair_of)))

    def all_passages(self, scored: TeacherFile | None) -> np.ndarray:
        """The passages of the pairs, and their queries' scored passages, ascending."""
        found = [self.passages, self.negatives]
        if scored:
            found.append(scored.passages[among(scored.queries, np.unique(self.queries))])
        return np.unique(np.concatenate(found))

    def rows(
        self, queries: IdRows, passages: IdRows, folder: object
    ) -> tuple[np.ndarray, np.ndarray]:
        """(N, 2) int32 rows of the pairs, (M,) int32 rows of the negatives.

        Raises:
            InputError: for an id that has no text.
        """
        pairs = np.column_stack([queries.of(self.queries), passages.of(self.passages)])
        negatives = passages.of(self.negatives)
        wrong = np.concatenate([np.flatnonzero((pairs < 0).any(1)), self.pair_of[negatives < 0]])
        if len(wrong):
            raise InputError(
                f"{folder}: training pair {wrong.min() + 1}: its query or one of its passages is "
                "not in the folder; run prepare again"
            )
        return pairs, negatives


def canonical_pairs(pairs: np.ndarray, queries: np.ndarray, passages: np.ndarray) -> np.ndarray:
    """(N, 2) int32 rows -> their canonical rows (see `Texts`), each pair once and ascending.

    Args:
        queries, passages: the canonical row of each row.
    """
    keys = np.unique(queries[pairs[:, 0]].astype(np.int64) << 32 | passages[pairs[:, 1]])
    return np.column_stack([(keys >> 32).astype(np.int32), keys.astype(np.int32)])


class PairSet:
    """Pairs with their texts and judgments. A batch reads its texts from disk.

    Args:
        work: an empty folder for the files that each step reads.
        fixed: vectors of all passages, in place of their texts.
        teacher: a file of scores.
        prompts: one query prompt per training source, in place of the encoder's prefix.
    Raises:
        InputError: for a pair of an unknown query or passage.
    """

    def __init__(
        self,
        corpus: Corpus,
        pairs: Iterable[Pair],
        encoder: DualEncoder,
        settings: TrainSettings,
        work: Path,
        *,
        fixed: FixedPassages | None = None,
        teacher: Path | None = None,
        prompts: Sequence[str] | None = None,
    ):
        scored = TeacherFile.read(teacher) if teacher else None
        ids = PairIds.of(pairs, with_negatives=bool(settings.hard_negatives) and not scored)
        folder = corpus.folder
        queries = texts.read_queries(work / "queries", folder, ids.queries, encoder, prompts)
        if fixed:
            self.passages: FixedPassages | Ragged = fixed
            passages = texts.passages_with_vectors(corpus, fixed.embeddings.ids)
        else:
            wanted, limit = ids.all_passages(scored), settings.passage_max_length
            tokenized = texts.read_passages(work / "passages", corpus, wanted, encoder, limit)
            passages, self.passages = tokenized
        rows, negatives = ids.rows(queries.rows, passages.rows, folder)
        if not (settings.in_batch_negatives or scored or len(negatives)):
            raise InputError(
                "params.yaml: train.in_batch_negatives: false, but no training pair has a hard "
                "negative; set mine.bm25.use or mine.encoder.use to true"
            )
        judged = texts.judged_relevant(folder, queries, passages)
        self.canonical_query, self.canonical_passage = queries.canonical, passages.canonical
        relevant = canonical_pairs(
            np.concatenate([rows, judged]), self.canonical_query, self.canonical_passage
        )
        self.settings, self.queries = settings, queries.tokens
        self.pairs = rows  # (N, 2) int32 rows of query and passage
        self.negatives = Ragged.group(  # passages by pair
            work / "negatives", np.int32, len(rows), ids.pair_of, negatives
        )
        # Passages by query: canonical rows.
        self.relevant = Ragged.group(work / "relevant", np.int32, len(queries.rows), *relevant.T)
        self.groups = Groups(rows, queries.sources[rows[:, 0]], settings)
        self.teacher = Teacher(work, scored, queries.rows, passages.rows, rows) if scored else None

    def batches(self, seed: int, start: int = 0) -> Iterator[Batch]:
        """Endless batches from number `start` on. Each epoch has a new order.

        A batch has `batch_size` pairs; or as many queries or passages, by `group_by`, each with up
        to `pairs_per_group` of its pairs, drawn anew each time. By query, all queries weigh the
        same. By passage, one encoded passage trains several queries. Each pair draws
        `hard_negatives` of its negatives.
        """
        rng = np.random.default_rng(seed)
        for number, chosen in enumerate(self.groups.batches(rng)):
            members = [self.groups.members(group).tolist() for group in chosen]
            size = self.settings.pairs_per_group
            pairs = [pair for group in members for pair in _draw(group, size, rng)]
            drawn = [self._with_negatives(pair, rng) for pair in pairs]
            if number >= start:
                yield self._batch(drawn, number)

    def _with_negatives(self, number: int, rng: np.random.Generator) -> SampledPair:
        query, positive = self.pairs[number].tolist()
        if self.teacher:
            negatives = self.teacher.negatives(query, positive)
        else:
            negatives = self.negatives[number].tolist()
        return SampledPair(query, positive, _draw(negatives, self.settings.hard_negatives, rng))

    def _batch(self, pairs: list[SampledPair], number: int) -> Batch:
        columns, log_weights = passages_of(pairs), None
        passages: list[Tokens] | torch.Tensor
        if isinstance(self.passages, FixedPassages):
            columns, log_weights = self.passages.sample_rows(columns, number)
            passages = self.passages.vectors(columns)
        else:
            passages = [self.passages[row] for row in columns]
        rows = np.array(columns)
        canonical = self.canonical_passage[rows]

        def relevant_to(query: int) -> list[int]:  # including passages of equal text
            answers = np.isin(canonical, self.relevant[self.canonical_query[query]])
            return rows[answers].tolist()

        teacher = self.teacher.scores if self.teacher else None
        targets = targets_of(pairs, columns, relevant_to, teacher)
        targets = targets._replace(log_weights=log_weights)
        queries = [self.queries[query] for query in targets.query_ids]
        return Batch(queries, passages, targets)


def _draw(items: Sequence[Item], count: int, rng: np.random.Generator) -> list[Item]:
    """Up to `count` of the items, in their order."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in sorted(rng.choice(len(items), count, replace=False))]
