"""Equal work has an equal key in any process, other work another; and which folders stay."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from helpers import ROOT

from dpr.base import resume
from dpr.base.resume import MAX_FINISHED, MAX_UNFINISHED, NOTE, Work, forget_finished

CPU = torch.device("cpu")
INPUTS = {"data/training": "a", "seed": 42, "train.lr": 1e-4, "names": ("a", "b"), "none": None}
KEY = f"""
import torch
from pathlib import Path
from dpr.base.resume import Work
torch.set_num_threads(1)
inputs = {INPUTS} | {{"work": "train"}}
print(Work.of(Path("scratch"), inputs, ("stages/train.py", "dpr/base"), torch.device("cpu")).key)
"""


def key(code=("stages/train.py", "dpr/base"), **changes):
    return Work.of(Path("scratch"), INPUTS | {"work": "train"} | changes, code, CPU).key


def test_equal_work_has_an_equal_key_in_every_process(monkeypatch):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", KEY]
    printed = subprocess.check_output(command, env=environment, cwd=ROOT, text=True)
    assert printed.strip() == key()
    keys = {key(), key(seed=43), key(**{"data/training": "b"}), key(**{"train.lr": 1e-5})}
    keys.add(key(("stages/train.py",)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    keys.add(key())
    monkeypatch.setattr(resume, "installed", lambda *names: {"torch": "0"})
    keys.add(key())
    assert len(keys) == 7


def test_the_code_of_each_module_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "ROOT", tmp_path)
    (tmp_path / "dpr/base").mkdir(parents=True)
    module = tmp_path / "dpr/base/a.py"
    module.write_text("x = 1\n")
    before = key(("dpr/base",))
    (tmp_path / "dpr/base/a.pyc").write_text("compiled")
    assert key(("dpr/base",)) == before
    module.write_text("x = 2\n")
    assert key(("dpr/base",)) != before


@pytest.fixture
def work(tmp_path):
    def make(kind=None, **inputs):
        values = {"work": "train first", "seed": 42} | inputs
        return Work.of(tmp_path / "scratch", values, (), CPU, kind)

    return make


def test_ignored_work_is_named_with_what_differs(work, capsys):
    work(seed=43, lr=1).begin()
    work(work="train second").begin()
    assert not capsys.readouterr().err  # the first of its sort
    work(seed=43, lr=2).begin()
    first = work(seed=43, lr=1).folder
    assert capsys.readouterr().err == f"{first}: unfinished work ignored: lr differs\n"
    work(seed=44, lr=2, a=1, b=2, c=3, d=4).begin()
    expected = (
        f"{work(seed=43, lr=2).folder}: unfinished work ignored: a, b, c, d and 1 more differ\n"
    )
    assert capsys.readouterr().err == expected


def test_the_same_unfinished_work_is_resumed_in_silence(work, capsys):
    for _ in range(2):
        work().begin()
        (work().folder / "state").touch()
    work().end()
    work(seed=43).begin()  # finished work is not unfinished
    assert not capsys.readouterr().err


def test_the_oldest_unfinished_work_goes_unless_a_process_holds_it(work):
    works = [work(seed=seed) for seed in range(MAX_UNFINISHED + 3)]
    for age, one in enumerate(works[:-1]):
        one.begin()
        os.utime(one.folder, (age, age))
    assert not works[0].folder.exists()  # the last `begin` has removed it
    works[0].begin()
    os.utime(works[0].folder, (0, 0))
    with FileLock(f"{works[0].folder}.lock"):
        works[-1].begin()
    left = [one.folder.exists() for one in works]
    assert left == [True] + [False] * 2 + [True] * MAX_UNFINISHED


def finish(one):
    with one.locked():
        one.begin()
        (one.folder / "state").touch()
        one.end()


def finish_more(work, **inputs):
    """So many that no older one of their kind stays."""
    for seed in range(100, 100 + MAX_FINISHED):
        finish(work(seed=seed, **inputs))


def test_the_oldest_finished_work_of_a_kind_goes(work):
    assert MAX_FINISHED == 3  # as docs/trust.md says
    second, firsts = work(work="train second"), [work(seed=seed) for seed in range(5)]
    finish(second)
    for age, one in enumerate(firsts[:4]):
        finish(one)
        os.utime(one.folder, (age, age))
    assert [one.is_finished for one in firsts] == [False, True, True, True, False]
    finish(firsts[1])  # it is used again, and is the newest now
    with firsts[4].locked():  # before it needs space
        assert [one.is_finished for one in firsts] == [False, True, False, True, False]
    assert second.is_finished


def test_work_used_again_for_a_second_kind_stays_the_newest_of_its_first_kind(work):
    zero_shot, dense = work(kind="zero_shot"), work(kind="dense")
    assert zero_shot.folder == dense.folder
    finish_more(work, kind="dense")
    older = [work(seed=seed, kind="zero_shot") for seed in range(MAX_FINISHED)]
    for age, one in enumerate([zero_shot, *older[:-1]]):
        finish(one)
        os.utime(one.folder, (age, age))
    finish(dense)
    left = [work(seed=100 + number).is_finished for number in range(MAX_FINISHED)]
    assert all(left)  # it needed no space among them
    finish(older[-1])
    assert [one.is_finished for one in (zero_shot, *older)] == [True, False, True, True]
    for seed in range(200, 200 + MAX_FINISHED):
        finish(work(seed=seed, kind="dense"))
    assert zero_shot.is_finished and not any(work(seed=100 + n).is_finished for n in range(3))


def test_finished_work_that_a_process_holds_stays(work):
    finish(work())
    with FileLock(f"{work().folder}.lock"):
        finish_more(work)
        assert (work().folder / "state").exists()


def test_forgetting_spares_unfinished_work_and_work_that_a_process_holds(work):
    finished, unfinished, held = (work(seed=seed) for seed in (1, 2, 3))
    scratch = finished.folder.parent
    unfinished.begin()
    for one in (finished, held):
        finish(one)
    (scratch / "tmp1234").mkdir()  # of a running process
    with held.locked():
        forget_finished(scratch)
    left = {path.name for path in scratch.iterdir() if path.suffix != ".lock"}
    assert left == {unfinished.key, held.key, "tmp1234"}


def test_folders_that_vanish_meanwhile_are_no_error(work, monkeypatch):
    glob = Path.glob

    def with_one_that_is_gone(folder, pattern):
        yield folder / f"gone/{Path(pattern).name}"
        yield from glob(folder, pattern)

    monkeypatch.setattr(Path, "glob", with_one_that_is_gone)
    for seed in (1, 2):
        finish(work(seed=seed))
    assert work(seed=1).is_finished


def test_work_that_ends_meanwhile_is_not_removed_as_unfinished(work, monkeypatch):
    ended = work()
    ended.begin()
    others = Work._others

    def end_after_listing(self, mark, *content):
        folders = others(self, mark, *content)
        if mark == NOTE:
            ended.end()
        return folders

    monkeypatch.setattr(Work, "_others", end_after_listing)
    monkeypatch.setattr(Work, "_closest", lambda self: None)
    monkeypatch.setattr(resume, "MAX_UNFINISHED", 1)
    work(seed=43).begin()
    assert ended.is_finished


def test_a_process_that_waits_says_so(work, capsys):
    code = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(0.5)
"""
    lock = work().folder.with_suffix(".lock")
    lock.parent.mkdir()
    command = [sys.executable, "-c", code, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        started = time.monotonic()
        with work().locked():
            assert time.monotonic() - started > 0.3
    expected = f"{work().folder}: waiting for an experiment with the same work\n"
    assert capsys.readouterr().err == expected
