"""Equal keys for equal work, whatever process asks; another key for any other; what is kept."""

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
from dpr.base.resume import KEPT, KEPT_FINISHED, NOTE, Work, forget_finished

KEYS = """
import torch
from pathlib import Path
from dpr.base.resume import Work
for changes in ({}, {"data/training": "b"}, {"seed": 43}, {"train.lr": 1e-5}, {"threads": 1}):
    made = {"data/training": "a", "seed": 42, "train.lr": 1e-4, "threads": 2} | changes
    torch.set_num_threads(made.pop("threads"))
    inputs = made | {"work": "train", "names": ("a", "b"), "none": None}
    print(Work.of(Path("scratch"), inputs, "stages/train.py", torch.device("cpu")).key)
"""


def test_another_process_has_the_same_key_and_other_work_another():
    root = {"PYTHONPATH": str(ROOT)}
    first, second = (
        subprocess.check_output(
            [sys.executable, "-c", KEYS],
            env=os.environ | root | {"PYTHONHASHSEED": seed},
            cwd=ROOT,
            text=True,
        ).split()
        for seed in "12"
    )
    assert first == second
    assert len(set(first)) == len(first) == 5


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setattr(resume.meaning, "of_code", lambda source: {"dpr/a.py": source})

    def make(source="1", kind=None, **inputs):
        values = {"work": "train first", "seed": 42} | inputs
        return Work.of(tmp_path / "scratch", values, source, torch.device("cpu"), kind)

    return make


def test_work_that_is_passed_over_is_named_with_what_differs(work, capsys):
    work(seed=43, lr=1).begin()
    work(work="train second").begin()
    assert not capsys.readouterr().err  # the first of its kind
    work("2", seed=43, lr=1).begin()
    first = work(seed=43, lr=1)
    assert capsys.readouterr().err == f"{first.folder}: unfinished, not used: other dpr/a.py\n"
    work("2", seed=44, lr=1).begin()
    closest = work("2", seed=43, lr=1).folder
    assert capsys.readouterr().err == f"{closest}: unfinished, not used: other seed\n"


def test_unfinished_work_is_found_again_in_silence(work, capsys):
    for _ in range(2):
        work().begin()
        (work().folder / "state").touch()
    assert not capsys.readouterr().err


def test_the_oldest_is_forgotten_unless_it_is_being_done(work):
    works = [work(seed=seed) for seed in range(KEPT + 3)]
    for age, one in enumerate(works[:-1]):
        one.begin()
        os.utime(one.folder, (age, age))
    locked = works[0]
    assert locked.folder.exists() is False  # the last `begin` has removed it
    locked.begin()
    os.utime(locked.folder, (0, 0))
    with FileLock(f"{locked.folder}.lock"):
        works[-1].begin()
    left = [one.folder.exists() for one in works]
    assert left == [True] + [False] * 2 + [True] * KEPT


def test_finished_work_is_not_unfinished(work, capsys):
    work().begin()
    work().end()
    work(seed=43).begin()
    assert not capsys.readouterr().err


def finish(one):
    with one.locked():
        one.begin()
        (one.folder / "state").touch()
        one.end()


def finish_more(work, **inputs):
    """So many that no older one of their kind stays."""
    for seed in range(100, 100 + KEPT_FINISHED):
        finish(work(seed=seed, **inputs))


def test_what_others_begin_leaves_finished_work(work):
    """DVC may still be caching it, in vain."""
    finish(work())
    with work(seed=43).locked(), work(seed=44).locked():
        assert work().is_finished and (work().folder / "state").exists()


def test_the_oldest_finished_work_of_a_kind_goes(work):
    assert KEPT_FINISHED == 3  # as docs/trust.md says
    second, firsts = work(work="train second"), [work(seed=seed) for seed in range(5)]
    finish(second)
    for age, one in enumerate(firsts[:4]):
        finish(one)
        os.utime(one.folder, (age, age))
    assert [one.is_finished for one in firsts] == [False, True, True, True, False]
    finish(firsts[1])  # found again, as it is, and the newest now
    with firsts[4].locked():  # before it takes room
        assert [one.is_finished for one in firsts] == [False, True, False, True, False]
    assert second.is_finished


def test_work_that_serves_two_kinds_stays_for_the_last(work):
    passages, queries = work(kind="a"), work(kind="b")
    assert passages.folder == queries.folder
    finish(passages)
    finish(queries)
    finish_more(work, kind="a")
    assert queries.is_finished
    finish_more(work, kind="b")
    assert not queries.folder.exists() and work(seed=100, kind="a").is_finished


def test_finished_work_that_another_process_uses_is_not_removed(work):
    finish(work())
    with FileLock(f"{work().folder}.lock"):
        finish_more(work)
        assert work().is_finished


def test_only_finished_work_that_no_process_is_at_is_forgotten(work):
    finished, unfinished, taken = (work(seed=seed) for seed in (1, 2, 3))
    scratch = finished.folder.parent
    unfinished.begin()
    for one in (finished, taken):
        finish(one)
    for one in (finished, unfinished, taken):  # where its result is
        one.folder.with_suffix(".json").touch()
    (scratch / "tmp1234").mkdir()  # of a running process
    with taken.locked():
        forget_finished(scratch)
    left = {path.name for path in scratch.iterdir() if path.suffix != ".lock"}
    assert left == {unfinished.key, taken.key, f"{taken.key}.json", "tmp1234"}


def test_folders_that_go_at_this_moment_are_no_error(work, monkeypatch):
    found = Path.glob

    def glob(folder, pattern):
        yield folder / f"gone/{Path(pattern).name}"
        yield from found(folder, pattern)

    monkeypatch.setattr(Path, "glob", glob)
    for seed in (1, 2):
        finish(work(seed=seed))
    assert work(seed=1).is_finished


def test_work_that_ends_at_this_moment_is_not_removed_as_unfinished(work, monkeypatch):
    ended = work()
    ended.begin()
    listed = Work._others

    def others(self, mark):
        folders = listed(self, mark)
        if mark == NOTE:
            ended.end()
        return folders

    monkeypatch.setattr(Work, "_others", others)
    monkeypatch.setattr(Work, "_closest", lambda self: None)
    monkeypatch.setattr(resume, "KEPT", 1)
    work(seed=43).begin()
    assert ended.is_finished


def test_work_that_another_does_is_waited_for_with_a_word(work, capsys):
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
    expected = f"{work().folder}: another experiment does this; waiting for it\n"
    assert capsys.readouterr().err == expected
