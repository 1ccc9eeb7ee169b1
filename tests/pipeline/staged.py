"""Stages as DVC runs them, each by itself, in copies of one folder in which all have run."""

import os
import re
import shutil
import subprocess
import sys

from graph_helpers import STEPS, outs
from helpers import ROOT, write_params
from watching import CHANGES, files, write_source

QUICK = {"train.max_steps": 40, "save_every": 0.05, "encode.window": 8}
IDS = ["-".join(filter(None, step)) for step in STEPS]


def command(name, key):
    return [sys.executable, "-m", f"stages.{name}", *([key] if key else [])]


def start(folder, name, key, before=(), **variables):
    """A stage in a folder that is not the repository; `before` goes before its command."""
    paths = [str(ROOT / "tests/pipeline/killing"), str(ROOT)]
    return subprocess.Popen(
        [*before, *command(name, key)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder, name, key, **options):
    process = start(folder, name, key, **options)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors


def run_all(folder, model, **changes):
    """The folder after all stages."""
    write_source(folder / "source")
    source = f"beir:{folder / 'source'}"
    changes |= {"data.collection": source, "data.train": source, "model.name": model}
    write_params(folder / "params.yaml", CHANGES | QUICK | changes)
    shutil.copy(ROOT / "versions.yaml", folder)
    for step in STEPS:
        run(folder, *step)
    return folder


def made(folder, name, key):
    """{path: sha256} of what a stage makes, whole or not; Lucene's bytes differ in each build."""
    made = {p: sha for p, sha in files(folder).items() if p.startswith(tuple(outs(name, key)))}
    return {p: None if p.startswith("data/indexes/bm25/") else sha for p, sha in made.items()}


def without_outs(whole, folder, name, key):
    """A copy in which the stage has not run."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns(".scratch"))
    for out in outs(name, key):
        path = folder / out
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def check_left(folder, step, expected, why):
    """What a stage that did not end has left is named as unfinished, a curve so far, or whole."""
    left = made(folder, *step)
    finished = [p for p in left if ".partial" not in p and not re.search(r"plots/(train|valid)", p)]
    differs = {p for p in finished if left[p] != expected.get(p)}
    assert not differs, f"{why}: half written, but looks whole"


def check_whole(folder, step, expected):
    found = made(folder, *step)
    assert {p: sha for p, sha in found.items() if p in expected or ".partial" not in p} == expected
