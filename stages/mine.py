"""mine: training pairs with hard negatives, from BM25 and from the encoder before training.

Reads data/training and data/encoders/zero_shot. Makes data/negatives and metrics/mine.json. If
neither mine.bm25.use nor mine.encoder.use is true, the pairs stay as they are.

    python -m stages.mine
"""

import tempfile
from pathlib import Path

from dpr.base import runtime
from dpr.base.files import write_json
from dpr.embeddings.artifact import Embeddings
from dpr.embeddings.passages import encode_passages
from dpr.encoders.embedder import Embedder
from dpr.encoders.spec import read_spec
from dpr.mining.negatives import add_negatives, never_negative
from dpr.mining.rankers import Ranker, bm25_ranker, encoder_ranker
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.settings import MineSource, load_settings
from dpr.similarity import require_same_similarity
from stages.run import SCRATCH, run

TRAINING = Path("data/training")
ENCODER = Path("data/encoders/zero_shot")


def main() -> None:
    settings = load_settings("params.yaml")
    threads = runtime.set_up(settings.threads, settings.seed)
    options, corpus = settings.mine, Corpus(TRAINING, settings.data.separator)
    pairs, queries = beir.read_pairs(TRAINING), beir.read_queries(TRAINING)
    rankers: list[tuple[Ranker, MineSource]] = []
    (SCRATCH / "mine").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH / "mine") as work:
        if options.bm25.use:
            ranker = bm25_ranker(corpus, Path(work) / "bm25", options.bm25, threads)
            rankers.append((ranker, options.bm25))
        if options.encoder.use:
            require_same_similarity(read_spec(ENCODER).similarity, settings.similarity, ENCODER)
            embedder = Embedder(ENCODER, settings.encode, runtime.device(), threads, SCRATCH)
            folder = Path(work) / "embeddings"
            encode_passages(embedder, corpus, settings.encode, folder, SCRATCH / "encode")
            embeddings = Embeddings.open(folder)
            ranker = encoder_ranker(embedder, embeddings, options.encoder)
            rankers.append((ranker, options.encoder))
        if rankers:
            judged = beir.read_qrels(TRAINING, "train")
            never = never_negative(pairs, queries, judged, corpus.texts())
            pairs = add_negatives(pairs, queries, never, rankers, options.per_pair, settings.seed)
    beir.write_pairs(Path("data/negatives"), pairs)
    counts = [len(pair.negative_ids) for pair in pairs]
    write_json(
        "metrics/mine.json",
        {
            "pairs": len(pairs),
            "with_negatives": sum(map(bool, counts)),
            "negatives_per_pair": sum(counts) / len(pairs),
        },
    )


if __name__ == "__main__":
    run(main)
