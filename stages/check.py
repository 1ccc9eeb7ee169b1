"""check: refuse bad settings now; the expensive stages would refuse them only after hours.

Reads data/encoders/zero_shot and data/manifest.json. Makes data/checked.json, which gates the
expensive stages. It checks the number format of the encoding, the index and the search memory. It
also checks that the training pairs fill a batch of each round, and opens the cross-encoders that
params.yaml names. data/plan, made here too, says whether a round needs vectors, mines and trains.

    python -m stages.check
"""

import sys
from pathlib import Path

from dpr.base import runtime
from dpr.base.files import read_json, write_json
from dpr.embeddings.artifact import stored_type
from dpr.encoders.embedder import Embedder
from dpr.indexes import kinds
from dpr.indexes.exact_search import rows_at_once
from dpr.reranking.cross_encoder import open_cross_encoder
from dpr.settings import load_settings
from stages import rounds
from stages.run import SCRATCH, run

ENCODER = Path("data/encoders/zero_shot")


def main() -> str:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads)
    encoder = Embedder(ENCODER, settings.encode, runtime.device(), SCRATCH)
    settings.require_encoder(encoder.spec.has_transformers)
    manifest = read_json("data/manifest.json")
    trained = manifest["train"]
    settings.require_batches(trained["pairs"]["count"], trained["judgments"]["train"]["queries"])
    passages = manifest["collection"]["passages"]["count"]
    stored = stored_type(settings.encode.dtype, encoder.dimension).itemsize
    rows_at_once(encoder.dimension, stored, settings.search.memory)
    kinds.plan(settings.index, encoder.similarity, passages, encoder.dimension).empty_index()
    for key, name, revision in settings.cross_encoders():
        open_cross_encoder(name, key, revision)
    rounds.write_plans(settings)
    if settings.trains("second") and (own := settings.second_overrides()):
        print(
            f"the second round takes {', '.join(own)} from second.train, not from train",
            file=sys.stderr,
        )
    write_json("data/checked.json", {"encoder": "opens", "index": "can be built"})
    return "the encoder opens, pairs fill the batches, the index can be built"


if __name__ == "__main__":
    run(main)
