"""The rounds of training: the encoders `from` and `to` of each, as in dvc.yaml, and its files."""

from pathlib import Path

from dpr.base.files import write_json
from dpr.settings import ROUNDS, Round, Settings

INITIAL_ENCODER = {"first": Path("data/encoders/zero_shot"), "second": Path("data/encoders/first")}
FINAL_ENCODER = {"first": Path("data/encoders/first"), "second": Path("data/encoders/dense")}
SUFFIX = {"first": "", "second": "_second"}  # of files in metrics/ and plots/


def plan_file(stage: str, round_name: Round) -> Path:
    """Says which work a stage has in a round; the stage reruns only if this file changes."""
    return Path(f"data/plan/{stage}_{round_name}.json")


def write_plans(settings: Settings) -> None:
    for round_name in ROUNDS:
        runs, mines = settings.trains(round_name), settings.mines(round_name)
        write_json(plan_file("vectors", round_name), {"needed": settings.needs_vectors(round_name)})
        plan = {"mines": mines, "runs": runs, "teacher": settings.teacher_of(round_name)}
        write_json(plan_file("mine", round_name), plan)


def vectors_folder(round_name: Round) -> Path:
    return Path("data/vectors") / round_name


def negatives_folder(round_name: Round) -> Path:
    return Path("data/negatives") / round_name
