"""The rounds of training: what each begins with and makes. dvc.yaml says the same."""

from pathlib import Path

from dpr.base.files import write_json
from dpr.settings import ROUNDS, Round, Settings

BEGINS = {"first": Path("data/encoders/zero_shot"), "second": Path("data/encoders/first")}
MAKES = {"first": Path("data/encoders/first"), "second": Path("data/encoders/dense")}
SUFFIX = {"first": "", "second": "_second"}  # of files in metrics/ and plots/


def plan(stage: str, round: Round) -> Path:
    """What a stage has to do in a round: it runs again only if that changes."""
    return Path(f"data/plan/{stage}_{round}.json")


def write_plans(settings: Settings) -> None:
    for round in ROUNDS:
        runs, mines = settings.runs(round), settings.mines(round)
        write_json(plan("vectors", round), {"needed": settings.needs_vectors(round)})
        write_json(plan("mine", round), {"mines": mines, "runs": runs})


def vectors(round: Round) -> Path:
    return Path("data/vectors") / round


def negatives(round: Round) -> Path:
    return Path("data/negatives") / round
