"""mine: the training pairs with hard negatives, from BM25 and the encoder before training.

With neither in use the pairs are as `prepare` left them.
"""

import os
import tempfile
from pathlib import Path

from dpr import checkpoint, mining, runtime, similarity
from dpr.collections import beir
from dpr.embeddings import Embeddings
from dpr.encoding import encode_corpus
from dpr.files import write_json
from dpr.settings import load_settings
from stages import run

TRAINING = Path("data/training")
ENCODER = Path("data/encoders/zero_shot")


def main() -> None:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads, settings.seed)
    separator, options = settings.data.separator, settings.mine
    pairs, queries = beir.read_pairs(TRAINING), beir.read_queries(TRAINING)
    scratch = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch"
    (scratch / "mine").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch / "mine") as work:
        rankers = []
        if options.bm25.use:
            passages, folder = beir.read_corpus(TRAINING), Path(work) / "bm25"
            ranker = mining.bm25_ranker(
                passages, separator, folder, options.bm25, options.bm25.last_rank, settings.threads
            )
            rankers.append((ranker, options.bm25))
        if options.encoder.use:
            encoder = checkpoint.load(ENCODER).to(runtime.device())
            similarity.require(encoder.spec.similarity, settings.similarity, ENCODER)
            folder = Path(work) / "embeddings"
            encode_corpus(
                encoder, ENCODER, TRAINING, separator, settings.encode, folder, scratch / "encode"
            )
            ranker = mining.encoder_ranker(
                encoder, Embeddings.open(folder), settings.encode, options.encoder.last_rank
            )
            rankers.append((ranker, options.encoder))
        if rankers:
            never = mining.never_negative(
                pairs,
                queries,
                beir.read_qrels(TRAINING, "train"),
                ((p.id, p.contents(separator)) for p in beir.read_corpus(TRAINING)),
            )
            pairs = mining.add_negatives(
                pairs, queries, never, rankers, options.per_pair, settings.seed
            )
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
