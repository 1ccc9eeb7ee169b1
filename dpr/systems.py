"""The systems that are compared, in the order of tables and plots."""

from typing import Literal, get_args

System = Literal["bm25", "zero_shot", "dense", "rrf", "hybrid"]
SYSTEMS: tuple[str, ...] = get_args(System)
ENCODERS = ("zero_shot", "dense")  # the matrix of encode, index and search in dvc.yaml
