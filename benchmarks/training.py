"""Training speed compared with sentence-transformers: same encoder, pairs, batch size, precision.

    python -m benchmarks.training                                   # plain in-batch negatives
    python -m benchmarks.training --batch-size 256 --chunk-size 32  # cached gradients
    python -m benchmarks.training --batch-size 1024 --chunk-size 128 --precision bf16   # on a GPU

Needs the data of `dvc repro prepare init mine@first`. The trainers take turns, each in a process of
its own. Loading and the first steps are not counted. Each trainer runs its whole loop; this one has
`train_memory` and `save_every` of params.yaml. This trainer tokenizes the texts beforehand and
encodes a text that two pairs of a batch share only once; sentence-transformers does neither.
sentence-transformers is measured twice: with the dropout of the checkpoint, which is its default,
and with this trainer's, from params.yaml. "As params.yaml says" takes all of `train` but batch
size, chunk size and precision, as `make repro` does. Tokens are those of all pairs, no padding.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from dpr.base import runtime
from dpr.base.environment import thread_count
from dpr.encoders import checkpoint
from dpr.evaluation.markdown_tables import table
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.settings import load_settings
from dpr.training.log import Record, Step, Validation
from dpr.training.pairs import PairSet
from dpr.training.snapshot import Autosave
from dpr.training.texts import Ragged
from dpr.training.trainer import Trainer
from stages.run import parser

TRAINING, NEGATIVES = Path("data/training"), Path("data/negatives/first")
ENCODER = "data/encoders/zero_shot"
WARM_UP = 3  # steps


def main() -> None:
    command_line = parser("benchmarks.training", __doc__)
    command_line.add_argument("--batch-size", type=int, default=64)
    command_line.add_argument("--chunk-size", type=int, help="texts per forward pass; default: all")
    command_line.add_argument("--steps", type=int, default=15)
    command_line.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    command_line.add_argument("--device", choices=["cpu", "cuda"], default=runtime.device().type)
    command_line.add_argument("--rounds", type=int, default=3)
    command_line.add_argument("--one", choices=TRAINERS, help=argparse.SUPPRESS)
    arguments = command_line.parse_args()
    if arguments.one:
        print(json.dumps(TRAINERS[arguments.one](arguments)))
        return
    command = [sys.executable, "-m", "benchmarks.training", *sys.argv[1:], "--one"]
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in TRAINERS}
    for _ in range(arguments.rounds):
        for name in TRAINERS:
            done = subprocess.run([*command, name], stdout=subprocess.PIPE, text=True, check=True)
            measured[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(name, measured[name][-1], file=sys.stderr)
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for name, runs in measured.items()
    }
    reference = medians["sentence-transformers"]["tokens_per_second"]
    print(
        table(
            ["trainer", "pairs per second", "tokens per second", "ratio", "peak MiB on the GPU"],
            [
                [
                    name,
                    f"{median['pairs_per_second']:,.1f}",
                    f"{median['tokens_per_second']:,.0f}",
                    f"{median['tokens_per_second'] / reference:.2f}",
                    f"{median['peak'] / 2**20:,.0f}" if median["peak"] else "-",
                ]
                for name, median in medians.items()
            ],
        )
    )


# Changes to params.yaml, so that this trainer does what sentence-transformers does.
AS_SENTENCE_TRANSFORMERS = {
    "hard_negatives": 0,
    "group_by": None,
    "pairs_per_group": 1,
    "freeze_embeddings": False,
    "symmetric": False,
}


class Clock:
    """Records when each step of this trainer ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def __call__(self, record: Record) -> None:
        if isinstance(record, Step):
            self.ends.append(now())


def this_trainer(arguments: argparse.Namespace) -> dict[str, float]:
    return measure_this_trainer(arguments, AS_SENTENCE_TRANSFORMERS)


def as_params_say(arguments: argparse.Namespace) -> dict[str, float]:
    return measure_this_trainer(arguments, {})


def measure_this_trainer(
    arguments: argparse.Namespace, changes: dict[str, Any]
) -> dict[str, float]:
    settings, clock = load_settings("params.yaml"), Clock()
    runtime.set_up(settings.threads, settings.seed)
    trainer = prepared(arguments, changes, clock)
    trainer.run()
    return rates(clock.ends[-1] - clock.ends[WARM_UP - 1], arguments, trainer.pairs)


def sentence_transformers(arguments: argparse.Namespace) -> dict[str, float]:
    return sentence_transformers_trainer(arguments, None)


def sentence_transformers_same_dropout(arguments: argparse.Namespace) -> dict[str, float]:
    return sentence_transformers_trainer(arguments, load_settings("params.yaml").train.dropout)


def sentence_transformers_trainer(
    arguments: argparse.Namespace, dropout: float | None
) -> dict[str, float]:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer import losses
    from transformers import TrainerCallback

    settings = load_settings("params.yaml")
    torch.set_num_threads(thread_count(settings.threads))
    model = SentenceTransformer(ENCODER, device=arguments.device)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout) and dropout is not None:
            module.p = dropout
    model.max_seq_length = settings.train.passage_max_length or model.max_seq_length
    pairs, queries = beir.read_pairs(NEGATIVES), beir.read_queries(TRAINING)
    passages = dict(Corpus(TRAINING, settings.data.separator).texts())
    texts = {
        "anchor": [queries[pair.query_id].text for pair in pairs],
        "positive": [passages[pair.passage_id] for pair in pairs],
    }
    scale = 1 / settings.train.temperature
    loss: torch.nn.Module
    if arguments.chunk_size:
        loss = losses.CachedMultipleNegativesRankingLoss(
            model, scale=scale, mini_batch_size=arguments.chunk_size
        )
    else:
        loss = losses.MultipleNegativesRankingLoss(model, scale=scale)

    class StepClock(TrainerCallback):
        started = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == WARM_UP:
                self.started = now()

    clock = StepClock()
    with tempfile.TemporaryDirectory() as folder:
        options = SentenceTransformerTrainingArguments(
            folder,
            max_steps=WARM_UP + arguments.steps,
            per_device_train_batch_size=arguments.batch_size,
            bf16=arguments.precision == "bf16",
            use_cpu=arguments.device == "cpu",
            learning_rate=settings.train.lr,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        dataset = Dataset.from_dict(texts)
        trainer = SentenceTransformerTrainer(
            model, options, train_dataset=dataset, loss=loss, callbacks=[clock]
        )
        trainer.train()
    return rates(
        now() - clock.started, arguments, prepared(arguments, AS_SENTENCE_TRANSFORMERS).pairs
    )


TRAINERS = {
    "this trainer": this_trainer,
    "this trainer, as params.yaml says": as_params_say,
    "sentence-transformers": sentence_transformers,
    "sentence-transformers, same dropout": sentence_transformers_same_dropout,
}


def prepared(
    arguments: argparse.Namespace, changes: dict[str, Any], clock: Clock | None = None
) -> Trainer:
    """This trainer, with params.yaml except for the changes of the comparison."""
    settings, steps = load_settings("params.yaml"), WARM_UP + arguments.steps
    given = {key: getattr(arguments, key) for key in ("batch_size", "chunk_size", "precision")}
    given |= {"max_steps": steps, "eval_every": steps, "epochs": None}
    options = settings.train.model_copy(update=given | changes)
    encoder = checkpoint.load(ENCODER).to(arguments.device)
    pairs = beir.read_pairs(NEGATIVES)
    corpus = Corpus(TRAINING, settings.data.separator)
    work = Path(tempfile.mkdtemp())  # not removed: each step reads it
    return Trainer(
        encoder=encoder,
        pairs=PairSet(corpus, pairs, encoder, options, work),
        validate=lambda encoder, step: Validation(step, 0.0, 0.0),
        settings=options,
        seed=settings.seed,
        autosave=Autosave(work / "state.safetensors", settings.save_every),
        activation_gib=settings.train_memory,
        watchers=[clock] if clock else [],
    )


def rates(seconds: float, arguments: argparse.Namespace, pairs: PairSet) -> dict[str, float]:
    """Rates over the counted steps, with the mean tokens of all pairs."""
    assert isinstance(pairs.passages, Ragged)
    tokens = [
        len(pairs.queries[query]) + len(pairs.passages[passage])
        for query, passage in pairs.pairs.tolist()
    ]
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    per_second = arguments.steps * arguments.batch_size / seconds
    return {
        "pairs_per_second": per_second,
        "tokens_per_second": per_second * statistics.fmean(tokens),
        "peak": peak,
    }


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
