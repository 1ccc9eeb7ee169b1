"""Teachers score passages for training queries, including the passages of their pairs."""

import math
from collections.abc import Callable
from pathlib import Path

from dpr.base.errors import InputError
from dpr.mining.rankers import ranked
from dpr.records.corpus import Corpus
from dpr.records.scores import read_scores
from dpr.records.types import Query, Scores
from dpr.reranking.cross_encoder import open_cross_encoder, score_pairs
from dpr.runs.fusion import DENSE_AND_BM25, Fusion

# (queries, {query id: ids of its positives}, runs of the rankers) -> {query id: {passage: score}}
Teacher = Callable[[list[Query], dict[str, list[str]], list[Scores]], Scores]
FUSION = "fusion"


def open_teacher(
    name: str, depth: int, queries: dict[str, Query], corpus: Corpus, revision: str | None = None
) -> Teacher:
    """The teacher that `teacher.scores` names; it scores the best `depth` of each ranker.

    Args:
        revision: of a hub's cross-encoder.
    """
    kind, _, rest = name.partition(":")
    if name == FUSION:
        return fusion(depth)
    if kind == "file":
        return from_file(Path(rest), queries, corpus)
    return cross_encoder(rest, corpus, depth, revision)


def fusion(depth: int) -> Teacher:
    """The mean of BM25's and the encoder's scores (`Fusion.weighted`); 0 if neither has one."""

    def score(queries: list[Query], positives: dict[str, list[str]], runs: list[Scores]) -> Scores:
        bm25, dense = (
            {q: {p: scores[p] for p in ranked(scores, depth)} for q, scores in run.items()}
            for run in runs
        )
        fused = dict(Fusion.of(dense, bm25, minima=DENSE_AND_BM25).weighted(0.5, 2 * depth))
        taught = {}
        for query in queries:
            scores = fused.get(query.id, {})
            passages = [*ranked(scores, depth), *positives[query.id]]
            taught[query.id] = {p: scores.get(p, 0.0) for p in passages}
        return taught

    return score


def cross_encoder(name: str, corpus: Corpus, depth: int, revision: str | None = None) -> Teacher:
    """A cross-encoder of sentence-transformers, over the best passages of each ranker."""
    model = open_cross_encoder(name, "teacher.scores", revision)

    def score(queries: list[Query], positives: dict[str, list[str]], runs: list[Scores]) -> Scores:
        passages = {
            query.id: dict.fromkeys(
                [*positives[query.id]]
                + [p for run in runs for p in ranked(run.get(query.id, {}), depth)]
            )
            for query in queries
        }
        scored = set().union(*passages.values())
        texts = {p: text for p, text in corpus.texts() if p in scored}
        pairs = [(query.text, texts[p]) for query in queries for p in passages[query.id]]
        scores = iter(score_pairs(model, pairs))
        return {query.id: {p: next(scores) for p in passages[query.id]} for query in queries}

    return score


def from_file(path: Path, queries: dict[str, Query], corpus: Corpus) -> Teacher:
    """The scores of a file (`dpr.records.scores`); InputError for unknown or repeated ids."""
    known = {passage_id for passage_id, _ in corpus.texts()}
    given: Scores = {}
    for where, query_id, passage_ids, scores in read_scores(path):
        if query_id not in queries:
            raise InputError(f"{where}: the training data has no query {query_id!r}")
        of_query = given.setdefault(query_id, {})
        for passage_id, value in zip(passage_ids, scores, strict=True):
            if passage_id not in known:
                raise InputError(f"{where}: the training data has no passage {passage_id!r}")
            if passage_id in of_query:
                raise InputError(
                    f"{where}: passage {passage_id!r} is scored twice for {query_id!r}"
                )
            of_query[passage_id] = value

    def score(queries: list[Query], positives: dict[str, list[str]], runs: list[Scores]) -> Scores:
        return {query.id: given.get(query.id, {}) for query in queries}

    return score


def require_complete(scores: Scores, positives: dict[str, list[str]], name: str) -> None:
    """Raises InputError unless each query has a finite score for the passages of its pairs."""
    for query_id, passage_ids in positives.items():
        missing = [p for p in passage_ids if p not in scores.get(query_id, {})]
        if missing:
            raise InputError(
                f"params.yaml: teacher.scores: {name} has no score of passage {missing[0]!r} "
                f"for the training query {query_id!r}, which it answers; score every training pair"
            )
        if not all(map(math.isfinite, scores[query_id].values())):
            raise InputError(
                f"params.yaml: teacher.scores: {name} gives the query {query_id!r} a score that is "
                "not finite; choose a different teacher"
            )
