"""Every stage by itself: killed, elsewhere, on a full disk, with a truncated input."""

import random
import shlex
import shutil
import signal
import subprocess
import time

import pytest
from graph_helpers import STEPS, deps, is_code
from helpers import ROOT, works
from staged import IDS, check_left, check_whole, command, made, run, start, without_outs

pytestmark = pytest.mark.slow
EACH_STEP = pytest.mark.parametrize("step", STEPS, ids=IDS)
KILLS = 5  # of a stage before a file operation, and as many at random moments
ELSEWHERE = {"LC_ALL": "C", "LANG": "C", "TZ": "Pacific/Apia", "PYTHONHASHSEED": "7"}


@EACH_STEP
def test_a_killed_stage_ends_with_the_same_bytes(stages_done, tmp_path, step):
    expected, rng = made(stages_done, *step), random.Random(str(step))
    folder, count = tmp_path / "copy", tmp_path / "count"
    without_outs(stages_done, folder, *step)
    started = time.monotonic()
    run(folder, *step, DPR_COUNT_IN=str(count))
    seconds, operations = time.monotonic() - started, int(count.read_text())
    points = [{"DPR_KILL_AT": str(rng.randint(1, operations))} for _ in range(KILLS)]
    for point in [*points, *[{}] * KILLS]:
        without_outs(stages_done, folder, *step)
        process = start(folder, *step, **point)
        if not point:
            time.sleep(rng.uniform(0.3 * seconds, seconds))
            process.send_signal(signal.SIGKILL)
        process.communicate()
        check_left(folder, step, expected, point)
        run(folder, *step)
        check_whole(folder, step, expected)


def test_elsewhere_the_bytes_are_the_same(stages_done, tmp_path):
    """In a folder with a strange name, and with a different locale, time zone and hash seed."""
    folder = tmp_path / "a 'quoted' é 数据"
    folder.mkdir()
    for name in ("params.yaml", "versions.yaml"):
        shutil.copy(stages_done / name, folder)
    for step in STEPS:
        run(folder, *step, **ELSEWHERE)
        assert made(folder, *step) == made(stages_done, *step), step


@pytest.mark.parametrize(
    ("step", "dep"), [(step, dep) for step in STEPS for dep in deps(*step) if not is_code(dep)]
)
def test_a_truncated_file_is_refused(stages_done, tmp_path, step, dep):
    """Each file of a dep is cut in half: an error names it, or the result does not depend on it."""
    expected, folder = made(stages_done, *step), tmp_path / "copy"
    without_outs(stages_done, folder, *step)
    path = stages_done / dep
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        damaged = folder / file.relative_to(stages_done)
        half = damaged.read_bytes()[: file.stat().st_size // 2]
        damaged.write_bytes(half.rstrip(b"}\n"))  # else it may be a shorter file, which DVC sees
        process = start(folder, *step)
        errors = process.communicate()[1]
        if process.returncode == 0:
            check_whole(folder, step, expected)
            without_outs(stages_done, folder, *step)
        else:
            line = errors.strip().splitlines()[-1]
            assert (process.returncode, "Traceback" in errors) == (1, False), errors
            assert dep in line, f"{damaged.name}: {line}"
            shutil.copy(file, damaged)


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


def check_told(code, errors, words):
    """One line says what could not be written."""
    line = errors.strip().splitlines()[-1]
    assert code == 1
    assert words in errors  # Lucene says it itself
    assert "run it again" in line
    assert "Traceback" not in errors


@pytest.mark.skipif(not works(*NAMESPACE, "mount -t tmpfs disk /mnt"), reason="users cannot mount")
@pytest.mark.parametrize("kind", ["no room", "half the room", "read-only"])
@EACH_STEP
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
    script = SCRIPT.format(stage=stage, limit=limit, **paths)
    done = subprocess.run([*NAMESPACE, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    words = "Read-only file system" if kind == "read-only" else "No space left on device"
    check_told(int(paths["code"].read_text()), paths["errors"].read_text(), words)
    check_left(paths["left"], step, expected, kind)
    check_whole(paths["again"], step, expected)


@EACH_STEP
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
