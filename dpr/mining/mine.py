"""Hard negatives from rankings of the training queries, and a teacher's scores of passages.

A hard negative ranks high for a training query but does not answer it (Xiong et al. 2021, ANCE,
https://arxiv.org/abs/2007.00808). A margin below the score of the pair's own passage avoids false
negatives (Moreira et al. 2024, NV-Retriever, https://arxiv.org/abs/2407.15831).
"""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path

from dpr.base.errors import InputError
from dpr.base.progress import progress
from dpr.mining import teachers
from dpr.mining.positives import Positives
from dpr.mining.rankers import Ranker, ranked
from dpr.mining.teachers import Teacher
from dpr.records.scores import write_scores
from dpr.records.types import Pair, Qrels, Query, Scores, folded, is_relevant
from dpr.settings import MineRanker, TeacherSettings

QUERIES_AT_ONCE = 1_000


def candidates(
    scores: dict[str, float],
    own: str,
    settings: MineRanker,
    document: Callable[[str], str] = str,
) -> list[str]:
    """Passages of one query's ranking, between the first and the last rank.

    With a margin (absolute, or a share of the score of the pair's `own` passage), only passages
    that score at least that much below the own passage. If that has no score, none.

    Args:
        document: the document of a passage; only the best passage of a document has a rank.
    """
    best: dict[str, str] = {}
    for passage_id in ranked(scores, len(scores)):
        best.setdefault(document(passage_id), passage_id)
    chosen = list(best.values())[settings.first_rank - 1 : settings.last_rank]
    if settings.margin is None and settings.relative_margin is None:
        return chosen
    if own not in scores:
        return []
    positive = scores[own]
    # As in sentence-transformers' mine_hard_negatives: also below a negative score.
    relative = (settings.relative_margin or 0.0) * abs(positive)
    highest = positive - max(settings.margin or 0.0, relative)
    return [passage_id for passage_id in chosen if scores[passage_id] <= highest]


def never_negative(
    pairs: Iterable[Pair],
    queries: Mapping[str, Query],
    qrels: Qrels,
    duplicates_of: Mapping[str, Set[str]],
    document: Callable[[str], str] = str,
) -> dict[str, set[str]]:
    """{query id: ids that cannot be its negatives}, for each query of the pairs.

    They are the positives and relevant passages of the query and of queries with the same text, the
    duplicates of these passages (`Corpus.duplicates`), and the query itself if it is a passage.

    Args:
        document: the document of a passage. If documents are cut, pairs and judgments name
            documents; no passage of an id in the result can be a negative.
    """
    duplicates: dict[str, set[str]] = {}  # of the passages of each document
    for passage_id, equal in duplicates_of.items():
        duplicates.setdefault(document(passage_id), set()).update(equal)
    relevant_to: dict[str, set[str]] = {}  # by the text of the query
    for pair in pairs:
        relevant_to.setdefault(folded(queries[pair.query_id].text), set()).add(pair.passage_id)
    for query_id, grades in qrels.items():
        if (text := folded(queries[query_id].text)) in relevant_to:
            relevant_to[text] |= {p for p, grade in grades.items() if is_relevant(grade)}
    for relevant in relevant_to.values():
        relevant |= {d for p in relevant & duplicates.keys() for d in duplicates[p]}
    return {
        query_id: relevant_to[folded(queries[query_id].text)]
        | ({query_id} if queries[query_id].is_passage else set())
        for query_id in {pair.query_id: None for pair in pairs}
    }


class Miner:
    """Mines negatives for the pairs, a block of queries at a time.

    Args:
        never: as `never_negative` returns it.
        rankers: each with the ranks to take negatives from; None if only the teacher or the choice
            of positives needs its ranking.
        positives: which passages the pairs get, if they name documents that are cut.
        document: the document of a passage.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        queries: dict[str, Query],
        never: dict[str, set[str]],
        rankers: list[tuple[Ranker, MineRanker | None]],
        teacher: Teacher | None,
        options: TeacherSettings,
        positives: Positives | None = None,
        document: Callable[[str], str] = str,
    ):
        self.pairs, self.queries, self.never, self.document = pairs, queries, never, document
        self.rankers, self.teacher, self.options = rankers, teacher, options
        self.positives = positives or Positives(pairs)
        self.chosen: dict[tuple[str, str], str] = {}  # (query, document of a pair) -> passage

    def run(self, per_pair: int, seed: int, scores: Path | None = None) -> list[Pair]:
        """The pairs, each with its own negatives and then up to `per_pair` mined ones.

        Mined negatives are drawn by seed from the `candidates` of all rankers, except `never`.

        Args:
            scores: a new file for the teacher's scores.
        Raises:
            InputError: if the teacher lacks a pair, or gives all passages the same score.
        """
        rng, mined = random.Random(seed), {}
        values: set[float] = set()

        def taught_scores() -> Iterator[tuple[str, dict[str, float]]]:
            for positives, runs, taught in self._blocks():
                for query_id, own_passages in positives.items():
                    for own in own_passages:
                        pool = sorted(self._pool(query_id, own, runs, taught.get(query_id)))
                        drawn = rng.sample(pool, min(per_pair, len(pool)))
                        mined[query_id, own] = tuple(drawn)
                block_values = itertools.chain(*(of_query.values() for of_query in taught.values()))
                values.update(itertools.islice(block_values, 1000))
                yield from taught.items()

        if scores is None:
            for _ in taught_scores():
                pass
        else:
            write_scores(scores, taught_scores())
            if len(values) < 2:
                raise InputError(
                    f"params.yaml: teacher.scores: {self.options.scores} gives every passage the "
                    f"same score, {values}, and teaches nothing; choose a different teacher"
                )
        pairs = []
        for query_id, document, negatives in self.pairs:
            own = self.chosen[query_id, document]
            given = (self.chosen[query_id, negative] for negative in negatives)
            negative_ids = tuple(dict.fromkeys([*given, *mined[query_id, own]]))
            pairs.append(Pair(query_id, own, negative_ids))
        return pairs

    def assist(self) -> None:
        """Compute this process's share of each ranking, while the first process calls `run`."""
        for queries, candidates_of in self._query_blocks():
            for ranker, _ in self.rankers:
                ranker(queries, candidates_of)

    def _query_blocks(self) -> Iterator[tuple[list[Query], dict[str, list[str]]]]:
        """Blocks of queries, and the passages that rankers must score for each."""
        query_ids = iter(self.positives.documents)
        while block := list(itertools.islice(query_ids, QUERIES_AT_ONCE)):
            candidates_of = {query_id: self.positives.candidates(query_id) for query_id in block}
            yield [self.queries[query_id] for query_id in block], candidates_of

    def _blocks(self) -> Iterator[tuple[dict[str, list[str]], list[Scores], Scores]]:
        """(positives by query, the rankers' runs, the teacher's scores) of each block."""
        documents = self.positives.documents
        with progress(total=len(documents), unit="queries") as bar:
            for queries, candidates_of in self._query_blocks():
                runs = [ranker(queries, candidates_of) for ranker, _ in self.rankers]
                passages = {query.id for query in queries if query.is_passage}
                runs = [self._without_self(run, passages) for run in runs]
                chosen = self.positives.chosen(list(candidates_of), runs)
                self.chosen |= chosen
                positives = {q: [chosen[q, d] for d in documents[q]] for q in candidates_of}
                taught: Scores = {}
                if self.teacher:
                    taught = self.teacher(queries, positives, runs)
                    teachers.require_complete(taught, positives, str(self.options.scores))
                yield positives, runs, taught
                bar.update(len(queries))

    def _pool(
        self, query_id: str, own: str, runs: list[Scores], taught: dict[str, float] | None
    ) -> set[str]:
        never = self.never[query_id]
        pool = {
            candidate
            for run, (_, settings) in zip(runs, self.rankers, strict=True)
            if settings
            for candidate in candidates(run.get(query_id, {}), own, settings, self.document)
            if never.isdisjoint((candidate, self.document(candidate)))
        }
        if taught is None or self.options.margin is None:
            return pool
        highest = taught[own] - self.options.margin
        return {p for p in pool if p in taught and taught[p] <= highest}

    def _without_self(self, run: Scores, queries: set[str]) -> Scores:
        """The run, without the results of these queries that are the queries themselves."""
        return run | {
            q: {p: s for p, s in run[q].items() if self.document(p) != q}
            for q in queries & run.keys()
        }
