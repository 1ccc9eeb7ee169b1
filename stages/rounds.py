"""The rounds of training: the encoder each starts `from`, the one it leads `to`; as in dvc.yaml."""

from pathlib import Path

from dpr.base.files import write_json
from dpr.settings import ROUNDS, Round, Settings

FROM = {"first": Path("data/encoders/zero_shot"), "second": Path("data/encoders/first")}
TO = {"first": Path("data/encoders/first"), "second": Path("data/encoders/dense")}
SUFFIX = {"first": "", "second": "_second"}  # of files in metrics/ and plots/


def plan(stage: str, round_name: Round) -> Path:
    """The work of a stage in a round; the stage reruns only if this file changes."""
    return Path(f"data/plan/{stage}_{round_name}.json")


def write_plans(settings: Settings) -> None:
    for round_name in ROUNDS:
        runs, mines = settings.runs(round_name), settings.mines(round_name)
        write_json(plan("vectors", round_name), {"needed": settings.needs_vectors(round_name)})
        write_json(plan("mine", round_name), {"mines": mines, "runs": runs})


def vectors(round_name: Round) -> Path:
    return Path("data/vectors") / round_name


def negatives(round_name: Round) -> Path:
    return Path("data/negatives") / round_name
