"""Training pairs of documents that are cut, as pairs of passages: which passage is the positive."""

from collections.abc import Iterable, Iterator, Mapping

from dpr.base.environment import is_first_process
from dpr.base.progress import progress
from dpr.mining.rankers import Ranker
from dpr.records.corpus import Corpus
from dpr.records.documents import id_of_passage
from dpr.records.types import Pair, Qrels, Query
from dpr.runs.fusion import DENSE_AND_BM25, Fusion

DEPTH = 100  # passages that each ranker finds; a passage that BM25 does not find has its score 0
QUERIES_AT_ONCE = 1_000


def first_passages(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Each document as its first passage (FirstP of Dai and Callan 2019)."""
    for query_id, document, negatives in pairs:
        yield Pair(
            query_id, id_of_passage(document, 0), tuple(id_of_passage(d, 0) for d in negatives)
        )


def parts(
    corpus: Corpus, pairs: Iterable[Pair], queries: Mapping[str, Query], qrels: Qrels
) -> dict[str, list[str]]:
    """The passages of each document that pairs or judgments name, or that is a query itself."""
    named = {d for pair in pairs for d in (pair.passage_id, *pair.negative_ids)}
    named |= {d for grades in qrels.values() for d in grades}
    named |= {query.id for query in queries.values() if query.is_passage}
    return corpus.passages_of(named)


def best_passages(
    pairs: list[Pair],
    queries: Mapping[str, Query],
    passages_of: Mapping[str, list[str]],
    bm25: Ranker,
    encoder: Ranker,
) -> list[Pair]:
    """Each document as its best passage for the query, by the mean of both rankers' scaled scores.

    Of equally good passages, the first. All processes must call this; only the first process gets
    the best passages.

    Args:
        passages_of: as `parts` returns it.
    """
    documents: dict[str, set[str]] = {}
    for pair in pairs:
        documents.setdefault(pair.query_id, set()).update((pair.passage_id, *pair.negative_ids))
    query_ids, best = list(documents), dict[tuple[str, str], str]()
    with progress(total=len(documents), desc="positives", unit="queries") as bar:
        for start in range(0, len(documents), QUERIES_AT_ONCE):
            block = query_ids[start : start + QUERIES_AT_ONCE]
            own = {q: [p for d in sorted(documents[q]) for p in passages_of[d]] for q in block}
            asked = [queries[query_id] for query_id in block]
            dense, lexical = encoder(asked, own), bm25(asked, own)
            if is_first_process():
                fusion = Fusion.of(dense, lexical, minima=DENSE_AND_BM25)
                fused = dict(fusion.weighted(0.5, len(fusion.ids)))
                for q in block:
                    ranked = {p: -score for p, score in fused[q].items()}
                    for document in documents[q]:
                        best[q, document] = min(passages_of[document], key=ranked.__getitem__)
            bar.update(len(block))
    if not is_first_process():
        return list(first_passages(pairs))
    return [
        Pair(q, best[q, document], tuple(best[q, d] for d in negatives))
        for q, document, negatives in pairs
    ]
