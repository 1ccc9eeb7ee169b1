"""train: the dual encoder, from its initial weights, with in-batch negatives."""

from pathlib import Path

from dpr import checkpoint, runtime, similarity
from dpr.files import write_json
from dpr.settings import load_settings
from dpr.tables import write_csv
from dpr.training.pairs import PairSet
from dpr.training.trainer import Step, train
from dpr.training.validation import Validator
from stages import run

TRAINING = Path("data/training")


def main() -> None:
    settings = load_settings("params.yaml")
    runtime.set_up(settings.threads, settings.seed)
    encoder = checkpoint.load("data/encoders/zero_shot").to(runtime.device())
    similarity.require(encoder.spec.similarity, settings.similarity, "data/encoders/zero_shot")

    pairs = PairSet.read(TRAINING, encoder, settings.data.separator, settings.train)
    validator = Validator(TRAINING, encoder, settings.data.separator, settings.train, settings.seed)
    batches = pairs.batches(settings.train.batch_size, settings.seed)
    history = train(encoder, batches, validator.validate, settings.train)

    checkpoint.save(encoder, "data/encoders/dense")
    # A plot needs a row: an encoder that took no step has the validation loss it came with.
    steps = history.steps or [Step(0, history.best.loss, 0.0, 0.0)]
    write_csv("plots/train.csv", ["step", "loss", "lr", "gradient_norm"], steps)
    write_csv("plots/valid.csv", ["step", "loss", "nDCG@10"], history.validations)
    best = {"step": history.best.step, "loss": history.best.loss, "nDCG@10": history.best.ndcg}
    first = {"loss": history.validations[0].loss, "nDCG@10": history.validations[0].ndcg}
    write_json(
        "metrics/train.json", {"best": best, "untrained": first, "steps": len(history.steps)}
    )


if __name__ == "__main__":
    run(main)
