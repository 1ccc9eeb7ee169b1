"""The best passages of a system for a question, with their judgments."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dpr.base import runtime
from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.bm25 import lucene
from dpr.embeddings.artifact import Embeddings
from dpr.embeddings.precision import open_for_queries
from dpr.evaluation.markdown_tables import no_gain_notes
from dpr.indexes import kinds
from dpr.indexes.exact_search import Resources
from dpr.indexes.feedback import with_feedback
from dpr.indexes.index import Index
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.documents import DEEPER, as_documents, document_of
from dpr.records.run import Run
from dpr.records.types import ENCODERS, Query, folded, is_relevant
from dpr.reranking.cross_encoder import open_cross_encoder, score_pairs, with_rest
from dpr.runs.fusion import DENSE_AND_BM25, Fusion
from dpr.settings import Settings, load_settings
from stages.run import SCRATCH
from tools import sides
from tools.passages import COLLECTION, Document, Lookup, Words
from tools.systems import short

BM25, DENSE = Path("data/indexes/bm25"), Path("data/embeddings/dense")
SCORES = {  # by similarity; `dpr.similarity` computes them
    "cosine": "cosine of question and passage",
    "dot": "dot product of question and passage",
    "l2": "minus the squared L2 distance of question and passage",
    "l1": "minus the L1 distance of question and passage",
}


@dataclass(frozen=True)
class Answer:
    """A passage for the question.

    Attributes:
        id: of the passage or, if documents are cut, of its document.
        judged: its grade, if the question is a judged topic.
        place: "3 of 12" for the third of twelve passages of a document, else "".
        document: None if `snippet` is all of it.
    """

    rank: int
    id: str
    score: float
    title: str
    snippet: str
    judged: int | None
    place: str = ""
    document: Document | None = None

    @property
    def row(self) -> dict[str, Any]:
        """All but the document, for JSON."""
        return {key: value for key, value in asdict(self).items() if key != "document"}

    @property
    def relevant(self) -> bool:
        return is_relevant(self.judged)


class Answers:
    """A system opened for many questions. `notes` warn about stale outputs and useless training.

    Raises:
        InputError: if the system lacks an output of a stage.
    """

    def __init__(self, system: str):
        self.settings, self.model = load_settings("params.yaml"), None
        runtime.set_up(self.settings.threads)
        self.cut, options = self.settings.data.cut, self.settings.rerank
        stage = sides.STAGE_OF[system]
        if system == "reranked":
            if not options.model:
                raise InputError("reranked: params.yaml has no cross-encoder; set rerank.model")
            name = "data/reranker" if options.trains else options.model
            self.model = open_cross_encoder(name, "rerank.model", options.revision)
            system = options.run
        self.system = system  # that searches
        self.passages = Lookup(COLLECTION, self.cut)
        queries, self.judged = beir.read_queries(COLLECTION), {}
        if self.model:
            self.model_weight = model_weight(self.settings, bool(queries))
        for split in ("valid", "test"):
            for query_id, grades in beir.read_qrels(COLLECTION, split).items():
                self.judged[folded(queries[query_id].text)] = grades
        fuses = system not in ("bm25", *ENCODERS)
        # A collection without queries has no figures, and its encoder need not be trained.
        trained = bool(queries) and DENSE.exists()
        self.encoder = encoder = ("dense" if trained else "zero_shot") if fuses else system
        self.dense = None if system == "bm25" else DenseSearch(encoder, self.settings)
        if system not in ENCODERS and not BM25.exists():
            raise InputError(f"{BM25}: missing; `dvc repro bm25_index` makes it")
        self.weight = self.settings.fuse.default_weight
        if system == "hybrid" and trained:
            self.weight = read_json("metrics/fuse.json")["dense_weight"]
        stages, found = [stage], [""]
        if not queries or (fuses and not trained):
            stages = [f"index@{encoder}"] if self.dense else []
            stages += ["bm25_index"] if system not in ENCODERS else []
            stages += ["reranker"] if self.model and options.trains else []
        if fuses and not trained:
            weight = f", weight {self.weight}" if system == "hybrid" else ""
            found = [f"nothing is trained here: {system} fuses zero_shot and bm25{weight}"]
        elif system not in ("bm25", "zero_shot"):
            found = [no_gain_notes(sides.training(sides.WORKSPACE))]
        self.notes = [note for note in (sides.stale(*stages), *found) if note]
        self.ask("warm up", 1)  # Java and the encoder finish loading at the first question

    def ask(self, question: str, k: int = 10) -> list[Answer]:
        """The `k` best passages. Raises InputError for an empty question."""
        if not question.strip():
            raise InputError("the question is empty; ask in words")
        words, grades = Words(question), self.judged.get(folded(question), {})
        reads = self.settings.rerank.depth if self.model else 0
        run, passage_of = self._search(question, max(k, reads))
        if self.model:
            reranked = self._reranked(question, run.first(reads), passage_of)
            run = Run.of(with_rest(reranked, run))
        scores = run.get("question", {})
        answers = []
        for rank, (found, score) in enumerate([*scores.items()][:k], 1):
            passage = self.passages[passage_of.get(found, found)]
            passages = self.passages.of_document(found) if self.cut else [passage]
            at, snippet = passages.index(passage), words.snippet(passage.text)
            texts = [passage.text for passage in passages]
            shared = self.settings.data.passages.overlap
            document = None if texts == [snippet] else Document.around(texts, at, words, shared)
            place = f"{at + 1} of {len(passages)}" if self.cut else ""
            shown = (passage.title, snippet, grades.get(found), place, document)
            answers.append(Answer(rank, found, score, *shown))
        return answers

    @property
    def score(self) -> str:
        """The meaning of a score, in words."""
        words, encoder = "BM25 score of question and passage", self.encoder
        if self.model:
            weights = [short(f"{w:.2g}") for w in (self.model_weight, 1 - self.model_weight)]
            words = f"{weights[0]} × scaled cross-encoder + {weights[1]} × scaled {self.system}"  # noqa: RUF001
        elif self.system == "rrf":
            words = f"sum of reciprocal ranks 1 / ({self.settings.fuse.rrf_k} + rank)"
            words += f" in {encoder} and BM25"
        elif self.system == "hybrid":
            weights = [short(f"{weight:.2g}") for weight in (self.weight, 1 - self.weight)]
            dense, bm25 = f"scaled {encoder}", "scaled BM25"
            words = f"{weights[0]} × {dense} + {weights[1]} × {bm25}"  # noqa: RUF001
        elif self.dense:
            words = self.dense.score
        return words + ", for the document's best passage" * self.cut

    def _reranked(self, question: str, run: Run, passage_of: dict[str, str]) -> Run:
        """Passages by the mean of both scores. Of a document, `passage_of` gets the best one."""
        passages = [
            (one, passage)
            for one in run.get("question", {})
            for passage in (self.passages.of_document(one) if self.cut else [self.passages[one]])
        ]
        corpus = Corpus(COLLECTION, self.settings.data.separator)
        pairs = [(question, corpus.text(passage)) for _, passage in passages]
        assert self.model is not None
        best: dict[str, float] = {}
        for (one, passage), score in zip(passages, score_pairs(self.model, pairs), strict=True):
            if score > best.get(one, -math.inf):
                best[one], passage_of[one] = score, passage.id
        return Fusion.of({"question": best}, run).weighted(self.model_weight, len(best))

    def _search(self, question: str, k: int) -> tuple[Run, dict[str, str]]:
        """The run and, if documents are cut, the best passage of each document.

        Of a fusion, it is the passage that the first of its systems found best.
        """
        depth = k if self.system in ("bm25", *ENCODERS) else self.settings.search.top_k
        runs = [self.dense.search(question, depth, self.cut)] if self.dense else []
        if self.system not in ENCODERS:
            bm25, query = self.settings.bm25, Query("question", question)
            search = lucene.search_documents if self.cut else lucene.search
            options = (bm25.k1, bm25.b, depth, 1, bm25.heap)
            runs.append(search(BM25, [query], *options, rm3=bm25.rm3))
        passage_of: dict[str, str] = {}
        if self.cut:
            for run in reversed(runs):
                passage_of |= {document_of(p): p for p in run.get("question", {})}
            runs = [as_documents(run, depth) for run in runs]
        run = runs[0]
        if self.system == "rrf":
            run = Fusion.of(*runs).reciprocal_rank(self.settings.fuse.rrf_k, k)
        if self.system == "hybrid":
            run = Fusion.of(*runs, minima=DENSE_AND_BM25).weighted(self.weight, k)
        return run, passage_of


def model_weight(settings: Settings, judged: bool) -> float:
    """The weight of a cross-encoder's scores: as `rerank` chose it or, without topics, would."""
    if not judged:
        set_weight = settings.rerank.weight
        return settings.fuse.default_weight if set_weight is None else set_weight
    weight: float | None = read_json("metrics/rerank.json")["weight"]
    if weight is None:
        raise InputError("reranked: no weight is chosen yet; run `dvc repro rerank`")
    return weight


class DenseSearch:
    """An encoder with its embeddings and its index."""

    def __init__(self, system: str, settings: Settings):
        self.options, encoder = settings.search, Path("data/encoders") / system
        self.embeddings = Embeddings.open(f"data/embeddings/{system}")
        device = runtime.device()
        self.embedder = open_for_queries(self.embeddings, encoder, settings.encode, device, SCRATCH)
        resources = Resources(self.options.memory)
        self.index = Index.open(f"data/indexes/{system}", self.embeddings, resources)

    @property
    def score(self) -> str:
        """The meaning of a score, in words."""
        if self.index.manifest["lsh"] and not self.options.rescore:
            return "minus the number of bits in which question and passage differ"
        return SCORES[self.index.manifest["similarity"]]

    def search(self, question: str, depth: int, documents: bool = False) -> Run:
        """The best passages; if `documents`, the best one of each document."""
        vectors = self.embedder.embed_texts([question], "query")
        options = self.options
        deepest = max(depth, options.top_k) * (DEEPER if documents else 1)
        deepest = max(deepest, options.rescore or 0)
        ef = options.ef_search or kinds.default_ef_search(deepest)  # as the stage `search` does
        options = options.model_copy(update={"ef_search": ef})
        asked = [Query("question", question)]
        vectors = with_feedback(self.index, asked, vectors, options, documents)
        search = self.index.search_documents if documents else self.index.run
        return search(["question"], vectors, depth, options)
