"""A clone in which the whole graph was run through real DVC, with a tiny encoder."""

import pytest
from helpers import clone_into, sh


@pytest.fixture(scope="session")
def experiment(tmp_path_factory, tiny_model):
    """The clone after `dvc exp run --name tiny`; tests restore what they change in it."""
    clone = clone_into(tmp_path_factory.mktemp("clone"))
    changes = {
        "model.name": tiny_model,
        "model.passage_max_length": 16,
        "train.max_steps": 4,
        "train.eval_every": 2,
        "train.valid_passages": 200,
        "search.top_k": 100,
        "fuse.weight_steps": 2,
    }
    overrides = " ".join(f"-S {key}={value}" for key, value in changes.items())
    sh(clone, f"dvc exp run -q --name tiny {overrides}")
    return clone
