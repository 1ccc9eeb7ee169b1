"""Equal keys for equal work, whatever process asks; another key for any other; what is kept."""

import os
import subprocess
import sys
import time

import pytest
import torch
from filelock import FileLock
from helpers import ROOT

from dpr.base import resume
from dpr.base.resume import KEPT, Work

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


def test_finished_work_stays_until_the_next_of_its_kind_begins(work):
    first, second, again = work(), work(work="train second"), work(seed=43)
    finish(first)
    finish(second)
    finish(first)  # found again, as it is
    assert first.is_finished and (first.folder / "state").exists()
    with again.locked():
        assert not first.folder.exists()  # before the new one takes room
        assert second.is_finished and not again.is_finished


def test_work_that_serves_two_kinds_stays_for_the_last(work):
    passages, queries, next_one = work(kind="a"), work(kind="b"), work(seed=43, kind="a")
    assert passages.folder == queries.folder
    finish(passages)
    finish(queries)
    finish(next_one)
    assert queries.is_finished
    finish(work(seed=44, kind="b"))
    assert not queries.folder.exists() and next_one.is_finished


def test_finished_work_that_another_process_uses_is_not_removed(work):
    finish(work())
    with FileLock(f"{work().folder}.lock"), work(seed=43).locked():
        assert work().is_finished


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
