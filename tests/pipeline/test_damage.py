"""Damaged artifacts: a stage refuses them or does not need them; DVC makes them again."""

import shutil

import pytest
from graph_helpers import STEPS, deps, is_code, outs
from helpers import sh
from staged import check_whole, made, start, without_outs

from dpr.base.files import sha256

pytestmark = pytest.mark.slow
CASES = [(step, dep) for step in STEPS for dep in deps(*step) if not is_code(dep)]


def files_in(path):
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def name(case):
    (stage, key), dep = case
    return f"{stage}-{key}-{dep}"


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_truncated_file_is_refused(stages_done, tmp_path, case):
    """Each file of a dep is cut in half: an error names it, or the result does not depend on it."""
    step, dep = case
    expected, folder = made(stages_done, *step), tmp_path / "copy"
    without_outs(stages_done, folder, *step)
    for file in files_in(stages_done / dep):
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


def test_dvc_makes_again_what_was_changed(experiment):
    """One bit of every file that a stage has made: `dvc status` names it, `dvc repro` mends it."""
    paths = sorted({experiment / out for step in STEPS for out in outs(*step)})
    before = {file: sha256(file) for path in paths for file in files_in(path)}
    lock = (experiment / "dvc.lock").read_bytes()
    changed = [file for file in before if file.stat().st_size]
    for file in changed:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.unlink()  # it may be a link into DVC's cache
        file.write_bytes(data)
    status = sh(experiment, "dvc status")
    said = {
        line.split("modified:")[1].strip() for line in status.splitlines() if "modified:" in line
    }
    of_changed = [path for path in paths if set(files_in(path)) & set(changed)]
    missed = [path for path in of_changed if str(path.relative_to(experiment)) not in said]
    assert not missed, status
    sh(experiment, "dvc repro -q")
    assert {file: sha256(file) for file in before} == before
    assert (experiment / "dvc.lock").read_bytes() == lock
