"""train: the dual encoder, from its initial weights, with in-batch negatives.

`launcher` in params.yaml says how it is started: with torchrun, by several processes together.
"""

import os
from contextlib import nullcontext
from pathlib import Path

from filelock import FileLock

from dpr import checkpoint, runtime, scratch, similarity
from dpr.collections import beir
from dpr.files import write_json
from dpr.settings import load_settings
from dpr.tables import write_csv
from dpr.training.pairs import PairSet
from dpr.training.trainer import History, Step, Trainer
from dpr.training.validation import Validator
from dpr.training.world import World
from stages import run

TRAINING = Path("data/training")
ENCODER = Path("data/encoders/zero_shot")
NEGATIVES = Path("data/negatives")


def main() -> None:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads, settings.seed)
    world = World.join(runtime.device())
    encoder = checkpoint.load(ENCODER).to(runtime.device())
    similarity.require(encoder.spec.similarity, settings.similarity, ENCODER)

    separator, options = settings.data.separator, settings.train
    pairs = PairSet.read(TRAINING, beir.read_pairs(NEGATIVES), encoder, separator, options)
    validator = Validator(TRAINING, encoder, separator, options)
    inputs = {
        "files": scratch.fingerprint([ENCODER, TRAINING, NEGATIVES]),
        "settings": [settings.seed, separator, options.model_dump(), world.size],
    }
    # DVC empties an output before each try; the state of a killed run waits here.
    folder = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch" / "train"
    state_file = folder / f"{scratch.key(inputs, encoder.device)}.safetensors"
    trainer = Trainer(
        encoder,
        pairs,
        validator.validate,
        options,
        settings.seed,
        world,
        state_file,
        settings.save_every,
    )
    # An experiment beside this one may train the same; the first process holds it off for all.
    with FileLock(state_file.with_suffix(".lock")) if world.is_first else nullcontext():
        world.from_first((0.0,), encoder.device)  # the others wait until the first holds it
        history = trainer.run()
        if world.is_first:
            write_results(trainer, history)
            state_file.unlink(missing_ok=True)
    world.leave()


def write_results(trainer: Trainer, history: History) -> None:
    checkpoint.save(trainer.encoder, "data/encoders/dense")
    # A plot needs a row: an encoder that took no step has the validation loss it came with.
    steps = history.steps or [Step(0, history.best.loss, 0.0, 0.0, 0.0)]
    write_csv("plots/train.csv", Step._fields, steps)
    write_csv("plots/valid.csv", ["step", "loss", "nDCG@10"], history.validations)
    best, untrained = history.best, history.validations[0]
    results = {
        "best": {"step": best.step, "loss": best.loss, "nDCG@10": best.ndcg},
        "untrained": {"loss": untrained.loss, "nDCG@10": untrained.ndcg},
        "steps": len(history.steps),
        "parameters": trainer.counts,
    }
    write_json("metrics/train.json", results)


if __name__ == "__main__":
    run(main)
