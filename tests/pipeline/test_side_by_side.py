"""Several DVCs at once: in one checkout, and as workers of the queue."""

import shutil
import subprocess

import pytest
from helpers import environment, sh

pytestmark = pytest.mark.slow
SEEDS = (7, 8, 9)


def lock_of(clone, name):
    """dvc.lock of an experiment."""
    refs = sh(clone, "git for-each-ref --format %(refname) refs/exps").split()
    (ref,) = (ref for ref in refs if ref.endswith(f"/{name}"))
    return sh(clone, f"git show {ref}:dvc.lock")


def test_two_repros_in_one_checkout(experiment):
    """One works, the other says who is at work; nothing is harmed."""
    lock = (experiment / "dvc.lock").read_text()
    running = [
        subprocess.Popen(
            ["dvc", "repro", "--force", "--no-run-cache"],
            cwd=experiment,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    printed = [process.communicate()[0] for process in running]
    for process, text in zip(running, printed, strict=True):
        assert process.returncode == 0 or "busy" in text or "lock" in text, text
    assert any(process.returncode == 0 for process in running), printed
    assert (experiment / "dvc.lock").read_text() == lock
    assert "up to date" in sh(experiment, "dvc status")


def test_three_workers_make_what_one_makes(experiment):
    for seed in SEEDS:
        sh(experiment, f"dvc exp run -q --queue --name worker-{seed} -S seed={seed}")
    sh(experiment, "dvc queue start -j 3")
    for seed in SEEDS:
        sh(experiment, f"dvc queue logs --follow worker-{seed}")
    of_workers = {}
    for seed in SEEDS:
        of_workers[seed] = lock_of(experiment, f"worker-{seed}")
        sh(experiment, f"dvc exp remove worker-{seed}")
    assert len(set(of_workers.values())) == len(SEEDS)
    for seed in SEEDS:
        shutil.rmtree(experiment / ".scratch")  # or finished work would be taken
        sh(experiment, f"dvc exp run -q --temp --name alone-{seed} -S seed={seed} --force")
        assert lock_of(experiment, f"alone-{seed}") == of_workers[seed]
        sh(experiment, f"dvc exp remove alone-{seed}")
