"""Every stage meets a full disk, a read-only one and a limit for a file's size."""

import shlex
import subprocess

import pytest
from graph_helpers import STEPS
from helpers import ROOT, works
from staged import IDS, check_left, check_whole, command, made, run, start, without_outs

# In a mount namespace: a copy of FOLDER on a disk of its own, on which the stage runs twice.
SCRIPT = """
mount -t tmpfs -o size=1g disk {disk}
cp -r {folder}/. {disk}
cd {disk}
mount -o remount,{limit} {disk}
{stage} 2> {errors}
echo $? > {code}
cp -r {disk} {left}
mount -o remount,rw,size=1g {disk}
{stage} || exit 1
cp -r {disk} {again}
"""
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]


needs_namespace = pytest.mark.skipif(
    not works(*NAMESPACE, "mount -t tmpfs disk /mnt"), reason="no mounts for users here"
)


def check_told(code, errors, words):
    """One line says what could not be written."""
    line = errors.strip().splitlines()[-1]
    assert code == 1
    assert words in errors  # Lucene says it itself
    assert "run it again" in line
    assert "Traceback" not in errors


@pytest.mark.slow
@needs_namespace
@pytest.mark.parametrize("kind", ["no room", "half the room", "read-only"])
@pytest.mark.parametrize("step", STEPS, ids=IDS)
def test_a_stage_on_a_full_disk(stages_done, tmp_path, step, kind):
    expected = made(stages_done, *step)
    names = ("folder", "disk", "errors", "code", "left", "again")
    paths = {name: tmp_path / name for name in names}
    without_outs(stages_done, paths["folder"], *step)
    paths["disk"].mkdir()
    blocks = sum(-(-(stages_done / path).stat().st_size // 4096) for path in expected)
    room = blocks // 2 if kind == "half the room" else 0
    limit = f"size=$((($(du -s --block-size=4096 . | cut -f1) + {room}) * 4096))"
    if kind == "read-only":
        limit = "ro"
    stage = shlex.join(["env", f"PYTHONPATH={ROOT}", *command(*step)])
    done = subprocess.run(
        [*NAMESPACE, SCRIPT.format(stage=stage, limit=limit, **paths)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    words = "Read-only file system" if kind == "read-only" else "No space left on device"
    code = int(paths["code"].read_text())
    if code == 0 and kind != "read-only":  # it has first removed figures, which made room enough
        check_whole(paths["left"], step, expected)
    else:
        check_told(code, paths["errors"].read_text(), words)
        check_left(paths["left"], step, expected, kind)
    check_whole(paths["again"], step, expected)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS, ids=IDS)
def test_a_limit_for_the_size_of_a_file(stages_done, tmp_path, step):
    expected, folder = made(stages_done, *step), tmp_path / "copy"
    without_outs(stages_done, folder, *step)
    largest = max((stages_done / path).stat().st_size for path in expected)
    process = start(folder, *step, before=["prlimit", f"--fsize={largest // 2}"])
    errors = process.communicate()[1]
    check_told(process.returncode, errors, "File too large")
    check_left(folder, step, expected, "a limit")
    run(folder, *step)
    check_whole(folder, step, expected)
