"""DVC's cache is full after a stage has ended: its second try takes what it had finished."""

import os
import shlex
import shutil

import pytest
from helpers import call, works

# In a mount namespace: the cache is a disk of its own, which is too small.
SCRIPT = "mount -t tmpfs -o size=16k disk .dvc/cache && dvc repro -s {stage}"
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]

CASES = [
    ("train@first", "temperature: 0.05", "temperature: 0.1", "resuming after step 4"),
    ("encode@zero_shot", "window: 8192", "window: 99", "encoded before; used again"),
]


@pytest.mark.slow
@pytest.mark.skipif(not works(*NAMESPACE, "mount -t tmpfs d /mnt"), reason="no mounts for users")
@pytest.mark.parametrize(("stage", "old", "new", "said"), CASES)
def test_a_full_cache_loses_no_finished_work(experiment, tmp_path, stage, old, new, said):
    clone = tmp_path / "clone"
    shutil.copytree(experiment, clone, symlinks=True)
    params = clone / "params.yaml"
    assert old in params.read_text()
    params.write_text(params.read_text().replace(old, new, 1))

    def repro(*command):
        done = call(clone, shlex.join(command))
        return done.stdout + done.stderr

    first = repro(*NAMESPACE, SCRIPT.format(stage=stage))
    assert "failed to transfer" in first.lower() or "no space left" in first.lower(), first
    assert said not in first
    again = repro("dvc", "repro", "-s", stage)
    assert said in again, again
    assert "step 0: validation" not in again
    status = repro("dvc", "status", stage)
    assert os.linesep + stage + ":" not in status, status
