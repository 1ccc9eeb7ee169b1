"""The systems that are compared, in the order of tables and plots."""

from typing import get_args

from dpr.settings import System

ENCODERS = ("zero_shot", "dense")  # the matrix of encode, index and search in dvc.yaml
SYSTEMS: tuple[str, ...] = get_args(System)
