"""train ROUND: train the dual encoder.

    first     data/encoders/zero_shot -> data/encoders/first
    second    data/encoders/first -> data/encoders/dense (a copy unless `second.use`)

Also reads data/training, data/negatives/ROUND and, for `train.roles: query`, data/vectors/ROUND.
Also writes metrics/train*.json, plots/train*.csv and plots/valid*.csv. A killed training resumes
from its last snapshot in .scratch. A finished training with the same inputs is used again.

    python -m stages.train first
    torchrun --standalone --nproc-per-node 2 -m stages.train first      # `launcher` in params.yaml
"""

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from dpr.base import runtime
from dpr.base.environment import is_first_process
from dpr.base.files import (
    fingerprint,
    new_folder,
    temporary_folder,
    write_csv,
    write_json,
)
from dpr.base.processes import ProcessGroup
from dpr.base.resume import Work
from dpr.embeddings.artifact import Embeddings
from dpr.embeddings.precision import require_made_by
from dpr.encoders import checkpoint
from dpr.measures import PRIMARY_MEASURE
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.scores import TEACHER
from dpr.settings import Round, load_settings
from dpr.training import parameters
from dpr.training.log import History, Step, Validation, watching
from dpr.training.pairs import PairSet
from dpr.training.passages import FixedPassages
from dpr.training.snapshot import Autosave
from dpr.training.trainer import Trainer
from dpr.training.validation import Validator
from stages import rounds
from stages.run import SCRATCH, run

TRAINING = Path("data/training")
CODE = (
    *("dpr/base", "dpr/embeddings", "dpr/encoders", "dpr/measures", "dpr/records"),
    *("dpr/similarity.py", "dpr/training", "stages/rounds.py", "stages/train.py"),
)


def main(round_name: Round) -> str:
    settings = load_settings("params.yaml")
    start, negatives = rounds.INITIAL_ENCODER[round_name], rounds.negatives_folder(round_name)
    if not settings.trains(round_name):
        if is_first_process():
            with new_folder(rounds.FINAL_ENCODER[round_name]) as folder:
                shutil.copytree(start, folder, dirs_exist_ok=True)
            write_figures(round_name, {"steps": 0}, [], [])
        return f"this round does not run; copied {start}"
    runtime.set_up(settings.threads, settings.seed)
    round_settings = settings.train_settings(round_name)
    processes = ProcessGroup.join(runtime.device())
    encoder = parameters.for_roles(checkpoint.load(start), round_settings.roles)
    encoder = encoder.to(processes.device)
    inputs = {
        "work": f"train {round_name}",
        **{str(folder): fingerprint([folder]) for folder in (start, TRAINING, negatives)},
        **{f"train.{name}": value for name, value in round_settings.model_dump().items()},
        "data.prompts": settings.data.prompts,
        "data.separator": settings.data.separator,
        "data.cut": settings.data.cut,
        "processes": processes.size,
        "seed": settings.seed,
    }
    fixed = None
    if round_settings.roles == "query":
        vectors = Embeddings.open(rounds.vectors_folder(round_name))
        require_made_by(start, vectors)
        fixed = FixedPassages(
            vectors, round_settings.softmax_passages, settings.seed, encoder.device
        )
        inputs[str(rounds.vectors_folder(round_name))] = vectors.manifest["sha256"]
    work = Work.of(SCRATCH / "train", inputs, CODE, encoder.device)
    # The first process takes the lock for all.
    with (
        work.locked() if processes.is_first else nullcontext(),
        temporary_folder(SCRATCH / "train") as temporary,
    ):
        if processes.is_first:
            work.begin()
        processes.wait()  # the other processes wait here for the first
        corpus = Corpus(TRAINING, settings.data.separator, settings.data.cut)
        prompts = settings.data.prompts
        pairs = PairSet(
            corpus,
            beir.stream_pairs(negatives),
            encoder,
            round_settings,
            temporary,
            fixed=fixed,
            teacher=negatives / TEACHER if round_settings.teacher_share else None,
            prompts=prompts,
        )
        validator = Validator(corpus, encoder, round_settings, fixed=fixed, prompts=prompts)
        training = f"{round_name}-{work.key}"
        loggers: dict[str, Path] = {name: SCRATCH / name / training for name in settings.loggers}
        with watching(curves(round_name), loggers, processes.is_first) as watchers:
            trainer = Trainer(
                encoder=encoder,
                pairs=pairs,
                validate=validator.validate,
                settings=round_settings,
                seed=settings.seed,
                processes=processes,
                autosave=Autosave(work.folder / "state.safetensors", settings.save_every),
                activation_gib=settings.train_memory,
                watchers=watchers,
            )
            history = trainer.run()
        if processes.is_first:
            write_results(round_name, trainer, history, settings.data.train)
            work.end()
    processes.leave()
    return history.described(round_settings.valid_measure)


def write_results(round_name: Round, trainer: Trainer, history: History, data: str) -> None:
    best, before = history.best, history.validations[0]
    number_format: str = trainer.format
    if best.step:
        checkpoint.add_training(trainer.encoder, data, best.step)
    else:  # the result is the encoder that the round started from, to the byte
        number_format = checkpoint.trained_in(rounds.INITIAL_ENCODER[round_name])
    checkpoint.save(trainer.encoder, rounds.FINAL_ENCODER[round_name], number_format)
    figures = {
        "best": {"step": best.step, "loss": best.loss, **best.measured},
        "before": {"loss": before.loss, **before.measured},
        "steps": len(history.steps),
        "parameters": trainer.counts,
    }
    write_figures(round_name, figures, history.steps, history.validations)


def write_figures(
    round_name: Round, figures: dict[str, Any], steps: list[Step], validations: list[Validation]
) -> None:
    """Write metrics and curves. A plot needs a row, so a curve without a step is a row of zeros."""
    write_json(f"metrics/train{rounds.SUFFIX[round_name]}.json", figures)
    of_steps, of_validations = curves(round_name)
    write_csv(of_steps, Step._fields, steps or [Step(0, 0.0, 0.0, 0.0, 0.0)])
    measured = validations[0].measured if validations else {PRIMARY_MEASURE: 0.0}
    rows = [[v.step, v.loss, *v.measured.values()] for v in validations] or [[0, 0.0, 0.0]]
    write_csv(of_validations, ["step", "loss", *measured], rows)


def curves(round_name: Round) -> tuple[Path, Path]:
    """The files of steps and validations, which grow during training."""
    suffix = rounds.SUFFIX[round_name]
    return Path(f"plots/train{suffix}.csv"), Path(f"plots/valid{suffix}.csv")


if __name__ == "__main__":
    run(main)
