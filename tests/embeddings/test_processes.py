"""Encoding, ranking, indexing and searching over processes: the bytes of one process."""

import shutil

import numpy as np
import pytest
from helpers import processes
from sharded import exact_module, make

from dpr.base.errors import InputError
from dpr.base.processes import ProcessGroup
from dpr.encoders import checkpoint

WORKER = "import sharded\nsharded.join_and_make({folder!r}, dies={dies})\n"


@pytest.fixture
def folder(make_encoder, collection, tmp_path, monkeypatch):
    monkeypatch.setattr(exact_module, "TILE", (4, 3))
    checkpoint.save(make_encoder(), tmp_path / "encoder")
    assert collection == tmp_path / "collection" or collection.rename(tmp_path / "collection")
    return tmp_path


def outputs(folder, count=1):
    """{name: bytes} of all outputs; the searches of all processes must agree."""
    paths = [*(folder / "out").iterdir(), folder / "ranked.txt", folder / "cells/index.faiss"]
    files = {path.name: path.read_bytes() for path in paths}
    searches = [np.load(folder / f"found-{rank}.npz") for rank in range(count)]
    for name in searches[0].files:
        (files[name],) = {search[name].tobytes() for search in searches}
    return files


def run(folder, count, dies=None):
    return processes(count, folder / "worker.py", WORKER, folder=str(folder), dies=dies)


def test_two_processes_make_what_one_makes(folder):
    make(folder, ProcessGroup())
    alone = outputs(folder)
    shutil.rmtree(folder / "encode")  # so that it is encoded again
    done = run(folder, 2)
    assert done.returncode == 0, done.stderr
    assert outputs(folder, 2) == alone


@pytest.mark.slow
def test_three_processes_resume_the_work_of_two_after_a_kill(folder):
    make(folder, ProcessGroup())
    alone = outputs(folder)
    shutil.rmtree(folder / "encode")
    assert run(folder, 2, dies=3).returncode != 0
    finished = len(list((folder / "encode").glob("*/windows/*.txt")))
    assert 2 <= finished < 9  # 60 passages are 9 windows; process 1 did two
    done = run(folder, 3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("a window") == 9 - finished
    assert outputs(folder, 3) == alone


def test_blocks_are_the_same_for_any_number_of_processes(monkeypatch):
    """So are the shapes of what is computed together, and its last bits."""
    whole = [slice(start, min(start + 4, 21)) for start in range(0, 21, 4)]
    monkeypatch.setattr(ProcessGroup, "gather", lambda self, mine, count, block: mine)
    for size in (1, 2, 3, 6, 8):
        asked = []

        def work(block, asked=asked):
            asked.append(block)
            return (np.arange(21)[block],)

        rows = [ProcessGroup(rank, size).in_blocks(21, 4, work)[0] for rank in range(size)]
        assert np.concatenate(rows).tolist() == list(range(21))
        assert [block for block in asked if block.stop > block.start] == whole


def test_a_disk_without_room_is_an_error_before_the_work(folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match=r"vectors need 0\.0 GiB, .* are free; make room"):
        make(folder, ProcessGroup())
    assert not list((folder / "encode").glob("*/vectors.npy"))


def test_processes_that_differ_are_stopped(folder, monkeypatch):
    """As on machines with different processors, or with different corpora."""
    sent = []
    monkeypatch.setattr(ProcessGroup, "broadcast", lambda self, n: sent.append(n) or n)
    make(folder, ProcessGroup())
    monkeypatch.setattr(ProcessGroup, "broadcast", lambda self, n: sent[0])
    with (folder / "collection/corpus.jsonl").open("a") as file:
        file.write('{"_id": "more", "title": "", "text": "heart"}\n')
    message = r"process 1 would compute different .* its .*corpus\.jsonl, params\.yaml"
    with pytest.raises(InputError, match=message):
        make(folder, ProcessGroup())
