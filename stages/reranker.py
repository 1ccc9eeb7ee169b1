"""reranker: train a cross-encoder, if rerank.model is `trained`.

Reads data/training and data/encoders/zero_shot, whose transformer it starts from. Negatives rank
high in BM25 and in zero_shot, and are not relevant. Makes data/reranker, a CrossEncoder of
sentence-transformers, and metrics/reranker.json with the mean loss of the last tenth of the steps.
Without training, data/reranker has only a marker. After a kill, it starts over.

    python -m stages.reranker
"""

from pathlib import Path
from statistics import fmean

from dpr.base import runtime
from dpr.base.errors import InputError
from dpr.base.files import new_folder, temporary_folder, write_json
from dpr.base.processes import ProcessGroup
from dpr.bm25 import lucene
from dpr.embeddings.passages import encode_passages
from dpr.embeddings.precision import open_for_passages, open_for_queries
from dpr.indexes.exact_search import Resources
from dpr.mining.mine import Miner, never_negative
from dpr.mining.positives import first_passages
from dpr.mining.rankers import Ranker, bm25_ranker, encoder_ranker
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Pair
from dpr.reranking import training
from dpr.settings import MineRanker, Settings, load_settings
from stages.run import SCRATCH, run

TRAINING, START = Path("data/training"), Path("data/encoders/zero_shot")


def main() -> str:
    settings = load_settings("params.yaml")
    options = settings.rerank.train
    losses: list[float] = []
    with new_folder("data/reranker") as folder:
        if not settings.rerank.trains:
            (folder / "unused").touch()
        else:
            threads = runtime.set_up(settings.threads, settings.seed)
            model = training.begin(training.transformer_of(START), options.max_length)
            corpus = Corpus(TRAINING, settings.data.separator, settings.data.cut)
            pairs = training.sample_pairs(beir.read_pairs(TRAINING), options, settings.seed)
            pairs = mine(settings, pairs, corpus, threads)
            if not pairs:
                raise InputError(
                    "no training pair has a negative: mine.bm25 and mine.encoder have no passages "
                    "between first_rank and last_rank that are not relevant"
                )
            wanted = {p for pair in pairs for p in (pair.passage_id, *pair.negative_ids)}
            texts = {p: text for p, text in corpus.texts() if p in wanted}
            questions = {q.id: q.text for q in beir.stream_queries(TRAINING)}
            losses = training.train(model, pairs, questions, texts, options)
            model.save_pretrained(str(folder), create_model_card=False)
    last = losses[-len(losses) // 10 :]
    figures = {"steps": len(losses), "loss": fmean(last)} if losses else {"steps": 0}
    write_json("metrics/reranker.json", figures)
    return f"{len(losses)} steps, loss {fmean(last):.3f}" if losses else "nothing to train"


def mine(settings: Settings, pairs: list[Pair], corpus: Corpus, threads: int) -> list[Pair]:
    """The pairs with negatives: those that they have, then those of both rankers."""
    bm25, encoder, heap = settings.mine.bm25, settings.mine.encoder, settings.bm25.heap
    queries = beir.read_queries(TRAINING)
    qrels = beir.read_qrels(TRAINING, "train")
    never = never_negative(pairs, queries, qrels, corpus.duplicates(), corpus.document)
    pairs = list(first_passages(pairs)) if corpus.cut else pairs
    resources = Resources(settings.search.memory, ProcessGroup(device=runtime.device()))
    with temporary_folder(SCRATCH / "reranker") as temporary:
        index, prompts = temporary / "bm25", settings.data.prompts
        lucene.build_index(corpus.texts(), index, heap=heap)
        embedder = open_for_passages(corpus, START, settings.encode, SCRATCH, resources.processes)
        folder = SCRATCH / "reranker" / "vectors"  # a link to finished work, of `encode` maybe
        vectors = encode_passages(embedder, corpus, folder, resources.processes)
        embedder = open_for_queries(
            vectors, START, settings.encode, resources.processes.device, SCRATCH
        )
        rankers: list[tuple[Ranker, MineRanker | None]] = [
            (bm25_ranker(index, bm25, bm25.last_rank, threads, heap, corpus.cut), bm25),
            (
                encoder_ranker(
                    embedder, vectors, encoder.last_rank, prompts, resources, corpus.cut
                ),
                encoder,
            ),
        ]
        miner = Miner(
            pairs, queries, never, rankers, None, settings.teacher, document=corpus.document
        )
        count = settings.rerank.train.negatives
        mined = miner.run(count, settings.seed)
    first = (pair._replace(negative_ids=pair.negative_ids[:count]) for pair in mined)
    return [pair for pair in first if pair.negative_ids]


if __name__ == "__main__":
    run(main)
