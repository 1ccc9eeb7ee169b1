"""The rounds of training: what each begins with and makes. dvc.yaml says the same."""

from pathlib import Path

from dpr.settings import Round

BEGINS = {"first": Path("data/encoders/zero_shot"), "second": Path("data/encoders/first")}
MAKES = {"first": Path("data/encoders/first"), "second": Path("data/encoders/dense")}
SUFFIX = {"first": "", "second": "_second"}  # of files in metrics/ and plots/


def vectors(round: Round) -> Path:
    return Path("data/vectors") / round


def negatives(round: Round) -> Path:
    return Path("data/negatives") / round
