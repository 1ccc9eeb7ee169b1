"""reranker: train a cross-encoder, if rerank.model is `trained`.

Reads data/training and data/encoders/zero_shot, whose transformer it starts from. Negatives rank
high in BM25 and in zero_shot, and are not relevant. Makes data/reranker, a CrossEncoder of
sentence-transformers, and metrics/reranker.json with the mean loss of the last tenth of the steps.
Without training, data/reranker has only a marker. A killed training mines again and resumes from
its last snapshot in .scratch.

    python -m stages.reranker
"""

from pathlib import Path
from statistics import fmean

from dpr.base import files, runtime
from dpr.base.errors import InputError
from dpr.base.files import new_folder, temporary_folder, write_json
from dpr.base.processes import ProcessGroup
from dpr.base.resume import Work
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
from dpr.training.snapshot import Autosave
from stages.run import SCRATCH, run

TRAINING, START = Path("data/training"), Path("data/encoders/zero_shot")
# After mining. What mining finds is in the groups.
CODE = (
    "dpr/base",
    "dpr/encoders",
    "dpr/reranking",
    "dpr/training/snapshot.py",
    "stages/reranker.py",
)


def main() -> str:
    settings = load_settings("params.yaml")
    losses: list[float] = []
    with new_folder("data/reranker") as folder:
        if settings.rerank.trains:
            losses = train(settings, folder)
        else:
            (folder / "unused").touch()
    last = losses[-len(losses) // 10 :]
    figures = {"steps": len(losses), "loss": fmean(last)} if losses else {"steps": 0}
    write_json("metrics/reranker.json", figures)
    return f"{len(losses)} steps, loss {fmean(last):.3f}" if losses else "nothing to train"


def train(settings: Settings, folder: Path) -> list[float]:
    """Train a cross-encoder to the folder; the loss of each step."""
    options = settings.rerank.train
    threads = runtime.set_up(settings.threads, settings.seed)
    model = training.begin(training.transformer_of(START), options.max_length)
    corpus = Corpus(TRAINING, settings.data.separator, settings.data.cut)
    pairs = training.sample_pairs(beir.read_pairs(TRAINING), options, settings.seed)
    groups = training.groups_of(mine(settings, pairs, corpus, threads), options)
    if not groups:
        raise InputError(
            "no training pair has a negative: mine.bm25 and mine.encoder have no passages "
            "between first_rank and last_rank that are not relevant"
        )
    wanted = {p for group in groups for p in training.passages_of(group)}
    texts = {p: text for p, text in corpus.texts() if p in wanted}
    questions = {q.id: q.text for q in beir.stream_queries(TRAINING)}
    inputs = {
        "work": "train the cross-encoder",
        str(START): files.fingerprint([START]),
        **{f"rerank.train.{name}": value for name, value in options.model_dump().items()},
        "groups": training.fingerprint(groups, questions, texts),
        "seed": settings.seed,
    }
    work = Work.of(SCRATCH / "reranker", inputs, CODE, runtime.device())
    with work.locked():
        work.begin()
        autosave = Autosave(work.folder / "state.safetensors", settings.save_every)
        losses = training.train(model, groups, questions, texts, options, autosave)
        model.save_pretrained(str(folder), create_model_card=False)
        work.end()
    return losses


def mine(settings: Settings, pairs: list[Pair], corpus: Corpus, threads: int) -> list[Pair]:
    """The pairs with negatives: those that they have, then those of both rankers."""
    bm25, encoder, heap = settings.mine.bm25, settings.mine.encoder, settings.bm25.heap
    queries, qrels = beir.read_queries(TRAINING), beir.read_qrels(TRAINING, "train")
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
        return miner.run(settings.rerank.train.passages - 1, settings.seed)


if __name__ == "__main__":
    run(main)
