"""Which passages near the top of a ranking become hard negatives of a query.

They are ranked high for a training query but do not answer it. Xiong et al. 2021 (ANCE,
https://arxiv.org/abs/2007.00808) say why; the margin below the score of the pair's own passage is
from Moreira et al. 2024 (NV-Retriever, https://arxiv.org/abs/2407.15831).


Mining: from rankings of the training queries to hard negatives and a teacher's scores.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from dpr.base.errors import InputError
from dpr.base.progress import progress
from dpr.mining import teachers
from dpr.mining.rankers import Ranker
from dpr.mining.teachers import Teacher
from dpr.records.scores import write_scores
from dpr.records.types import Pair, Qrels, Query, Scores, folded, is_relevant
from dpr.settings import MineSource, TeacherSettings


def candidates(scores: dict[str, float], own: str, source: MineSource) -> list[str]:
    """Passages of one query's ranking between the source's ranks.

    With a margin, only those that score at least so much below the pair's own passage, or such a
    share of its score; none if that passage has no score.
    """
    ranked = sorted(scores, key=lambda p: (-scores[p], p))
    chosen = ranked[source.first_rank - 1 : source.last_rank]
    if source.margin is None and source.relative_margin is None:
        return chosen
    if own not in scores:
        return []
    positive = scores[own]
    # As sentence-transformers' mine_hard_negatives: below a negative score too.
    highest = positive - max(source.margin or 0.0, (source.relative_margin or 0.0) * abs(positive))
    return [passage_id for passage_id in chosen if scores[passage_id] <= highest]


def never_negative(
    pairs: list[Pair],
    queries: dict[str, Query],
    qrels: Qrels,
    duplicates_of: Mapping[str, Set[str]],
) -> dict[str, set[str]]:
    """For each query of the pairs, the passages that are no negatives.

    They are the positives and the relevant passages of it and of queries with the same text, all
    duplicates of these, and the passage that is the query itself.

    Args:
        duplicates_of: see `Corpus.duplicates`.
    """
    relevant_to: dict[str, set[str]] = {}  # by the text of the query
    for pair in pairs:
        relevant_to.setdefault(folded(queries[pair.query_id].text), set()).add(pair.passage_id)
    for query_id, grades in qrels.items():
        if (text := folded(queries[query_id].text)) in relevant_to:
            relevant_to[text] |= {p for p, grade in grades.items() if is_relevant(grade)}
    for relevant in relevant_to.values():
        relevant |= {d for p in relevant & duplicates_of.keys() for d in duplicates_of[p]}
    return {
        pair.query_id: relevant_to[folded(queries[pair.query_id].text)]
        | ({pair.query_id} if queries[pair.query_id].is_passage else set())
        for pair in pairs
    }


QUERIES_AT_ONCE = 1_000


class Miner:
    """Mines the pairs, a block of queries at a time.

    Args:
        never: passages that are no negatives, by query.
        rankers: each with the ranks that negatives are taken from; None: it only serves a teacher.
        teacher: it scores passages for each query, or None.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        queries: dict[str, Query],
        never: dict[str, set[str]],
        rankers: list[tuple[Ranker, MineSource | None]],
        teacher: Teacher | None,
        options: TeacherSettings,
    ):
        self.pairs, self.queries, self.never = pairs, queries, never
        self.rankers, self.teacher, self.options = rankers, teacher, options
        self.positives: dict[str, list[str]] = {}
        for pair in pairs:
            self.positives.setdefault(pair.query_id, []).append(pair.passage_id)

    def run(self, per_pair: int, seed: int, scores: Path | None = None) -> list[Pair]:
        """The pairs, each with up to `per_pair` mined negatives after those that it already has.

        They are drawn by seed from the `candidates` of all rankers that are not in
        `never[query_id]`.

        Args:
            scores: a new file for the teacher's scores.
        Raises:
            InputError: if the teacher lacks a pair, or gives all passages the same score.
        """
        rng, mined = random.Random(seed), {}
        values: set[float] = set()

        def blocks() -> Iterator[tuple[str, dict[str, float]]]:
            for positives, runs, taught in self._blocks():
                for query_id, own_passages in positives.items():
                    for own in own_passages:
                        found = self._found(query_id, own, runs, taught.get(query_id))
                        drawn = rng.sample(sorted(found), min(per_pair, len(found)))
                        mined[query_id, own] = tuple(drawn)
                values.update(itertools.islice(_values(taught), 1000))
                yield from taught.items()

        if scores is None:
            for _ in blocks():
                pass
        else:
            write_scores(scores, blocks())
            if len(values) < 2:
                raise InputError(
                    f"params.yaml: teacher.scores: {self.options.scores} gives every passage the "
                    f"same score, {values}, and teaches nothing; take another teacher"
                )
        return [
            _with_negatives(pair, mined.get((pair.query_id, pair.passage_id), ()))
            for pair in self.pairs
        ]

    def assist(self) -> None:
        """What other processes do while the first one runs: their share of each ranking."""
        for asked, positives in self._asked():
            for ranker, _ in self.rankers:
                ranker(asked, positives)

    def _asked(self) -> Iterator[tuple[list[Query], dict[str, list[str]]]]:
        """Some queries at a time, and the positives by query."""
        query_ids = iter(self.positives)
        while block := list(itertools.islice(query_ids, QUERIES_AT_ONCE)):
            positives = {query_id: self.positives[query_id] for query_id in block}
            yield [self.queries[query_id] for query_id in block], positives

    def _blocks(self) -> Iterator[tuple[dict[str, list[str]], list[Scores], Scores]]:
        """(positives by query, the rankers' runs, the teacher's scores) of some queries."""
        with progress(total=len(self.positives), unit="queries") as bar:
            for asked, positives in self._asked():
                runs = [ranker(asked, positives) for ranker, _ in self.rankers]
                own = {query.id for query in asked if query.is_passage}
                runs = [_without_own(run, own) for run in runs]
                taught: Scores = {}
                if self.teacher:
                    taught = teachers.checked(
                        self.teacher(asked, positives, runs), positives, str(self.options.scores)
                    )
                yield positives, runs, taught
                bar.update(len(asked))

    def _found(
        self, query_id: str, own: str, runs: list[Scores], taught: dict[str, float] | None
    ) -> set[str]:
        """The passages that can be negatives of a pair."""
        found = {
            candidate
            for run, (_, source) in zip(runs, self.rankers, strict=True)
            if source
            for candidate in candidates(run.get(query_id, {}), own, source)
        } - self.never[query_id]
        if taught is None or self.options.margin is None:
            return found
        highest = taught[own] - self.options.margin
        return {p for p in found if taught.get(p, highest + 1) <= highest}


def _without_own(run: Scores, own: set[str]) -> Scores:
    """The run, in which queries that are passages do not find themselves."""
    return run | {q: {p: s for p, s in run[q].items() if p != q} for q in own & run.keys()}


def _values(run: Scores) -> Iterator[float]:
    return (score for scores in run.values() for score in scores.values())


def _with_negatives(pair: Pair, mined: tuple[str, ...]) -> Pair:
    return pair._replace(negative_ids=tuple(dict.fromkeys(pair.negative_ids + mined)))
