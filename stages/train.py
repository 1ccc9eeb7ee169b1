"""train: the dual encoder, with in-batch negatives, from its initial weights.

Reads data/encoders/zero_shot, data/training and data/negatives. Makes data/encoders/dense,
metrics/train.json, plots/train.csv and plots/valid.csv. A killed training resumes from its last
snapshot in .scratch.

    python -m stages.train
    torchrun --standalone --nproc-per-node 2 -m stages.train      # `launcher` in params.yaml
"""

from contextlib import nullcontext
from pathlib import Path

from filelock import FileLock

from dpr.base import resume, runtime
from dpr.base.files import fingerprint, write_csv, write_json
from dpr.encoders import checkpoint
from dpr.measures import HEADLINE
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.settings import load_settings
from dpr.similarity import require_same_similarity
from dpr.training.history import History, Step
from dpr.training.pairs import PairSet
from dpr.training.processes import ProcessGroup
from dpr.training.trainer import Trainer
from dpr.training.validation import Validator
from stages.run import SCRATCH, run

TRAINING = Path("data/training")
ENCODER = Path("data/encoders/zero_shot")
NEGATIVES = Path("data/negatives")


def main() -> None:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads, settings.seed)
    processes = ProcessGroup.join(runtime.device())
    encoder = checkpoint.load(ENCODER).to(runtime.device())
    require_same_similarity(encoder.spec.similarity, settings.similarity, ENCODER)

    corpus, options = Corpus(TRAINING, settings.data.separator), settings.train
    pairs = PairSet.read(corpus, beir.read_pairs(NEGATIVES), encoder, options)
    validator = Validator(corpus, encoder, options)
    decides = {
        "files": fingerprint([ENCODER, TRAINING, NEGATIVES]),
        "settings": [settings.seed, corpus.separator, options.model_dump(), processes.size],
    }
    snapshot = SCRATCH / "train" / f"{resume.key(decides, encoder.device)}.safetensors"
    trainer = Trainer(
        encoder,
        pairs,
        validator.validate,
        options,
        settings.seed,
        processes,
        snapshot,
        settings.save_every,
    )
    # Another experiment may be training the same. The first process takes the lock for all.
    with FileLock(snapshot.with_suffix(".lock")) if processes.is_first else nullcontext():
        processes.broadcast((0.0,), encoder.device)  # the others wait for it here
        history = trainer.run()
        if processes.is_first:
            write_results(trainer, history)
            trainer.snapshots.remove()
    processes.leave()


def write_results(trainer: Trainer, history: History) -> None:
    best, untrained = history.best, history.validations[0]
    # Untrained, it is the encoder that it began from, to the byte.
    checkpoint.save(trainer.encoder, "data/encoders/dense", trainer.format if best.step else "fp32")
    # A plot needs a row: without a step, the one of the untrained encoder.
    steps = history.steps or [Step(0, best.loss, 0.0, 0.0, 0.0)]
    write_csv("plots/train.csv", Step._fields, steps)
    write_csv("plots/valid.csv", ["step", "loss", HEADLINE], history.validations)
    results = {
        "best": {"step": best.step, "loss": best.loss, HEADLINE: best.score},
        "untrained": {"loss": untrained.loss, HEADLINE: untrained.score},
        "steps": len(history.steps),
        "parameters": trainer.counts,
    }
    write_json("metrics/train.json", results)


if __name__ == "__main__":
    run(main)
