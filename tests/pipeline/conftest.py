"""The whole graph, run with a tiny encoder: through real DVC in a clone, and stage by stage."""

import runpy
import shlex
import sys

import dvc.cli
import parse_once
import pytest
import small_collection
from helpers import NO_NETWORK, PRINTED, call, clone_into, sh
from staged import run_all
from watching import watch_stages


@pytest.fixture(scope="session")
def experiment(tmp_path_factory, tiny_model):
    """The clone after `dvc exp run --name tiny`, offline; tests restore what they change in it."""
    clone = clone_into(tmp_path_factory.mktemp("clone"), lock=False)
    folder = tmp_path_factory.mktemp("small")
    small_collection.write(folder)
    changes = {
        "data.collection": f"beir:{folder}",
        "data.train": f"beir:{folder}",
        "threads": 1,  # the second core runs different tests
        "train.batch_size": 8,
        "model.name": tiny_model,
        "model.passage_max_length": 16,
        "train.max_steps": 4,
        "train.eval_every": 2,
        "train.valid_passages": 200,
        "second.train.max_steps": 2,
        "search.top_k": 100,
        "eval.measures": "[nDCG@10,AP,RR@10,recall@100,judged@10]",
        "fuse.weight_steps": 2,
        "rerank.model": "trained",
        "rerank.depth": 20,
        "rerank.train.steps": 2,
        "rerank.train.max_length": 64,
    }
    overrides = " ".join(f"-S {key}={value}" for key, value in changes.items())
    dvc = " ".join([*NO_NETWORK, "python", "tests/pipeline/forked_dvc.py"])
    done = call(clone, f"{dvc} exp run -q --name tiny {overrides}")
    assert done.returncode == 0, done.stderr
    (clone / PRINTED).write_text(done.stdout + done.stderr)
    return clone


@pytest.fixture(autouse=True)
def _parsed_once(monkeypatch):
    parse_once.install(monkeypatch.setattr)


@pytest.fixture
def printed(experiment, monkeypatch, capsys):
    """printed("dvc status") -> its standard output, from this process: imports take seconds."""

    def run(command):
        program, *words = shlex.split(command)
        monkeypatch.chdir(experiment)
        capsys.readouterr()
        if program == "dvc":
            assert dvc.cli.main(words) == 0
        else:  # python -m
            monkeypatch.setattr(sys, "argv", words[1:])
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        return capsys.readouterr().out

    return run


@pytest.fixture
def restored(experiment):
    """The experiment, whose parameters, outputs and dvc.lock are restored after the test."""
    yield experiment
    sh(experiment, "dvc exp apply -q tiny")


@pytest.fixture(scope="session")
def watched(tmp_path_factory, tiny_model):
    """{(stage, system): (settings read, files opened, files made)}, from one run of the graph."""
    return watch_stages(tmp_path_factory.mktemp("watched"), tiny_model)


@pytest.fixture(scope="session")
def stages_done(tmp_path_factory, tiny_model):
    """A folder in which every stage has run, by itself; tests copy it."""
    return run_all(tmp_path_factory.mktemp("stages"), tiny_model)
