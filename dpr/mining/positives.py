"""Which passages the pairs train on: their own or, of documents that are cut, one of each."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from dpr.records.documents import id_of_passage
from dpr.records.types import Pair, Scores
from dpr.runs.fusion import DENSE_AND_BM25, Fusion

DEPTH = 100  # documents that each ranker finds; a passage that BM25 does not find has its score 0


class Positives:
    """The passages of the pairs' documents; without `passages`, a document is a passage.

    "first" is FirstP of Dai and Callan 2019 (https://arxiv.org/abs/1905.09217). "best" is the
    passage with the highest mean of BM25's and the encoder's scaled scores for the query.

    Args:
        passages: the number of passages of each document, if documents are cut.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        passages: Mapping[str, int] | None = None,
        choice: Literal["first", "best"] = "first",
    ):
        self.passages, self.is_best = passages, choice == "best" and passages is not None
        self.documents: dict[str, list[str]] = {}  # positives by query
        self.negatives: dict[str, set[str]] = {}
        for query_id, document, negatives in pairs:
            self.documents.setdefault(query_id, []).append(document)
            if negatives:
                self.negatives.setdefault(query_id, set()).update(negatives)

    def candidates(self, query_id: str) -> list[str]:
        """The passages that rankers must score, if they can."""
        documents = self.documents[query_id]
        if not self.is_best:
            return [self._first(document) for document in documents]
        named = dict.fromkeys([*documents, *sorted(self.negatives.get(query_id, ()))])
        return [passage for document in named for passage in self._parts(document)]

    def chosen(self, query_ids: list[str], runs: list[Scores]) -> dict[tuple[str, str], str]:
        """{(query id, document): its passage}. Of equally good passages, the first.

        Args:
            runs: of BM25 and of the encoder, for "best".
        """
        fused: Mapping[str, Mapping[str, float]] = {}
        if self.is_best:
            bm25, encoder = runs
            fusion = Fusion.of(encoder, bm25, minima=DENSE_AND_BM25)
            fused = fusion.weighted(0.5, len(fusion.ids))
        chosen = {}
        for query_id in query_ids:
            scores = fused.get(query_id, {})
            for document in {*self.documents[query_id], *self.negatives.get(query_id, ())}:
                parts = self._parts(document) if self.is_best else [self._first(document)]
                best = max(range(len(parts)), key=[scores.get(p, 0.0) for p in parts].__getitem__)
                chosen[query_id, document] = parts[best]
        return chosen

    def _first(self, document: str) -> str:
        return document if self.passages is None else id_of_passage(document, 0)

    def _parts(self, document: str) -> list[str]:
        assert self.passages is not None
        return [id_of_passage(document, number) for number in range(self.passages[document])]


def first_passages(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Pairs of documents as pairs of their first passages."""
    for query_id, document, negatives in pairs:
        passages = tuple(id_of_passage(negative, 0) for negative in negatives)
        yield Pair(query_id, id_of_passage(document, 0), passages)
