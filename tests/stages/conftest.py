"""Stages of a round, run in a small workspace."""

import importlib
import shutil
from pathlib import Path

import pytest
from helpers import ROOT, write_params

from dpr.encoders import checkpoint
from dpr.settings import load_settings
from stages import rounds

SMALL = {
    "encode.precision": "fp32",
    "train.max_steps": 10,
    "train.eval_every": 10,
    "train.batch_size": 6,
    "train.valid_passages": 40,
    "train.precision": "fp32",
    "train.lr": 1e-3,
    "train.initial_share": 0.0,
    "mine.per_pair": 1000,
}


@pytest.fixture
def stages(tmp_path, make_encoder, collection, monkeypatch):
    """stages("first", "mine", **changes) -> runs these stages of a round."""
    folder = tmp_path / "workspace"
    for name in ("collection", "training"):
        shutil.copytree(collection, folder / "data" / name)
    checkpoint.save(make_encoder(), folder / "data/encoders/zero_shot")
    shutil.copy(ROOT / "versions.yaml", folder)
    monkeypatch.chdir(folder)

    def run(argument, *names, **changes):
        rounds.write_plans(load_settings(write_params(Path("params.yaml"), SMALL | changes)))
        for name in names:
            importlib.import_module(f"stages.{name}").main(argument)

    return run
