"""Every stage is killed by SIGKILL, before file operations and at random moments, and run again."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from graph_helpers import STEPS, outs
from helpers import ROOT, write_params
from watching import CHANGES, files, write_source

EACH = 4  # kills of a stage before a file operation, and as many at random moments
QUICK = {"train.max_steps": 40, "save_every": 0.05, "encode.window": 8}


def start(folder, name, key, **variables):
    """A stage as DVC runs it, in a folder that is not the repository."""
    paths = [str(ROOT / "tests/pipeline/killing"), str(ROOT)]
    variables = {"PYTHONPATH": os.pathsep.join(paths)} | variables
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{name}", *([key] if key else [])],
        cwd=folder,
        env=os.environ | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder, name, key, **variables):
    process = start(folder, name, key, **variables)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_model):
    """The folder after all stages."""
    folder = tmp_path_factory.mktemp("whole")
    write_source(folder / "source")
    source = f"beir:{folder / 'source'}"
    changes = {"data.collection": source, "data.train": source, "model.name": tiny_model}
    write_params(folder / "params.yaml", CHANGES | changes | QUICK)
    shutil.copy(ROOT / "versions.yaml", folder)
    for name, key in STEPS:
        run(folder, name, key)
    return folder


def made(folder, name, key):
    """{path: sha256} of what a stage makes."""
    found = files(folder)
    return {p: sha for p, sha in found.items() if p.startswith(tuple(outs(name, key)))}


def without_outs(whole, folder, name, key):
    """A copy in which the stage has not run."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns(".scratch"))
    for out in outs(name, key):
        path = folder / out
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS, ids=lambda step: "-".join(filter(None, step)))
def test_a_killed_stage_ends_with_the_same_bytes(whole, tmp_path, step):
    expected, rng = made(whole, *step), random.Random(str(step))
    folder, count = tmp_path / "copy", tmp_path / "count"
    without_outs(whole, folder, *step)
    started = time.monotonic()
    run(folder, *step, DPR_COUNT_IN=str(count))
    seconds, operations = time.monotonic() - started, int(count.read_text())
    points = [{"DPR_KILL_AT": str(rng.randint(1, operations))} for _ in range(EACH)]
    for point in [*points, *[{}] * EACH]:
        without_outs(whole, folder, *step)
        process = start(folder, *step, **point)
        if not point:
            time.sleep(rng.uniform(0.3 * seconds, seconds))
            process.send_signal(signal.SIGKILL)
        process.communicate()
        left = made(folder, *step)
        partial = {path for path in left if ".partial" in path}
        differs = {p for p in left.keys() - partial if left[p] != expected.get(p)}
        assert not differs, f"{point}: half written, but looks whole"
        run(folder, *step)
        assert {p: s for p, s in made(folder, *step).items() if p not in partial} == expected
