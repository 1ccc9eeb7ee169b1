"""Encoding, ranking and searching over processes: what one process makes, to the byte."""

import errno
import os
import shutil

import numpy as np
import pytest
import torch
from helpers import PARAMS, processes

from dpr.base import runtime
from dpr.base.errors import InputError
from dpr.base.processes import ProcessGroup
from dpr.embeddings import passages
from dpr.embeddings.artifact import Embeddings
from dpr.embeddings.passages import encode_passages
from dpr.encoders import checkpoint
from dpr.encoders.embedder import Embedder
from dpr.indexes import exact_search as exact_module
from dpr.indexes.build import build
from dpr.indexes.exact_search import Resources, exact_search
from dpr.indexes.index import Index, save
from dpr.mining.rankers import encoder_ranker
from dpr.records.corpus import Corpus
from dpr.records.types import Query
from dpr.settings import EncodeSettings

CPU = torch.device("cpu")
OPTIONS = EncodeSettings(window=7, batch_tokens=128, precision="fp32", dtype="float16")
QUERIES = [Query(f"q{n}", word) for n, word in enumerate(["heart", "lung", "brain", "bone", "eye"])]
MEMORY = 10 * 32 * 10 / 2**30  # of 3 vectors at a time
WORKER = """
import os, sys
import test_processes
from dpr.base.processes import ProcessGroup
group = ProcessGroup.join(test_processes.CPU)
test_processes.exact_module.TILE = (4, 3)
test_processes.make({folder!r}, group, dies={dies})
group.leave()
"""


def make(folder, group, dies=None):
    """Embeddings, a ranking and two searches in `folder`; process 1 may die in its n-th window."""
    from pathlib import Path

    folder = Path(folder)
    runtime.set_up(threads=1)
    embedder = Embedder(folder / "encoder", OPTIONS, CPU, folder)
    embedder.embed = counted(embedder.embed, dies if group.rank == 1 else None)
    corpus = Corpus(folder / "collection", ". ")
    encode_passages(embedder, corpus, folder / "out", group)
    embeddings, resources = Embeddings.open(folder / "out"), Resources(MEMORY, group)
    rank = encoder_ranker(embedder, embeddings, 20, None, resources)
    ranked = rank(QUERIES, {query.id: ["d03"] for query in QUERIES})
    vectors = embedder.embed_texts([query.text for query in QUERIES], "query")
    exact = exact_search(embeddings, vectors, 30, resources=resources)
    chosen = PARAMS.index.model_copy(update={"kind": "IVF3,SQ8"})
    built = build(embeddings, chosen, 0, group, folder / "parts")
    if group.is_first:
        save(*built, embeddings, chosen, folder / "cells")
    group.wait()
    approximate = Index.open(folder / "cells", embeddings, resources).search(
        vectors, 20, nprobe=2, rescore=40
    )
    np.savez(folder / f"found-{group.rank}.npz", *exact, *approximate)
    if group.is_first:
        (folder / "ranked.txt").write_text(repr(ranked))


def counted(embed, dies):
    """Prints a line for each window of passages; in the n-th the process may die."""
    calls = []

    def embed_or_die(tokens, role, *rest):
        calls.append(1)
        if len(calls) == dies:
            os._exit(9)
        if role == "passage":
            print("a window", flush=True)
        return embed(tokens, role, *rest)

    return embed_or_die


@pytest.fixture
def folder(make_encoder, collection, tmp_path, monkeypatch):
    monkeypatch.setattr(exact_module, "TILE", (4, 3))
    checkpoint.save(make_encoder(), tmp_path / "encoder")
    assert collection == tmp_path / "collection" or collection.rename(tmp_path / "collection")
    return tmp_path


def made(folder):
    files = {
        path.name: path.read_bytes()
        for path in [
            *(folder / "out").iterdir(),
            folder / "ranked.txt",
            folder / "cells/index.faiss",
        ]
    }
    found = np.load(folder / "found-0.npz")
    return files | {name: found[name].tobytes() for name in found.files}


def test_processes_make_what_one_makes(folder):
    make(folder, ProcessGroup())
    alone = made(folder)
    for count in (2, 3):
        shutil.rmtree(folder / "encode")  # so that it is encoded again
        done = processes(count, folder / "worker.py", WORKER, folder=str(folder), dies=None)
        assert done.returncode == 0, done.stderr
        assert made(folder) == alone
        others = [np.load(folder / f"found-{rank}.npz") for rank in range(count)]
        for name in others[0].files:
            for other in others[1:]:
                np.testing.assert_array_equal(others[0][name], other[name])


def test_blocks_are_the_same_for_any_number_of_processes(monkeypatch):
    """So what is computed together is the same, and its last bits are."""
    whole = [slice(at, min(at + 4, 21)) for at in range(0, 21, 4)]
    monkeypatch.setattr(ProcessGroup, "gather", lambda self, mine, count, block: mine)
    for size in (1, 2, 3, 6, 8):
        asked = []

        def work(some, asked=asked):
            asked.append(some)
            return (np.arange(21)[some],)

        found = [ProcessGroup(rank, size).in_blocks(21, 4, work)[0] for rank in range(size)]
        assert np.concatenate(found).tolist() == list(range(21))
        assert [some for some in asked if some.stop > some.start] == whole


@pytest.mark.slow
def test_other_processes_do_what_a_killed_one_has_left(folder):
    make(folder, ProcessGroup())
    alone = made(folder)
    shutil.rmtree(folder / "encode")
    done = processes(2, folder / "worker.py", WORKER, folder=str(folder), dies=3)
    assert done.returncode != 0
    kept = len(list((folder / "encode").glob("*/windows/*.txt")))
    assert 2 <= kept < 9  # 60 passages are 9 windows; process 1 did two
    done = processes(3, folder / "worker.py", WORKER, folder=str(folder), dies=None)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("a window") == 9 - kept
    assert made(folder) == alone


def test_a_disk_without_room_is_an_error_before_the_work(folder, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(passages.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"vectors need 0\.0 GiB, 0\.0 are free; make room"):
        make(folder, ProcessGroup())
    assert not list((folder / "encode").glob("*/vectors.npy"))


def test_a_disk_that_another_process_fills_is_an_error_before_the_work(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(passages.os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"the vectors need 0\.0 GiB"):
        make(folder, ProcessGroup())
    assert not list((folder / "encode").glob("*/vectors.npy"))


def test_processes_that_would_make_other_vectors_are_stopped(folder, monkeypatch):
    """As on machines with other processors."""
    monkeypatch.setattr(passages.Work, "key", "00000000002a")
    monkeypatch.setattr(ProcessGroup, "broadcast", lambda self, numbers: (60.0,))
    with pytest.raises(
        InputError, match="process 1 would compute different vectors than the first"
    ):
        make(folder, ProcessGroup())


def test_processes_that_see_other_corpora_are_stopped(monkeypatch):
    group = ProcessGroup(rank=1, size=2)
    monkeypatch.setattr(ProcessGroup, "broadcast", lambda self, numbers: (61.0,))
    with pytest.raises(InputError, match="passages: 60 in process 2, 61 in the first"):
        group.require_equal(60, "corpus.jsonl: passages")
