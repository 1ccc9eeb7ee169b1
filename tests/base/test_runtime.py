"""Devices, threads and random states."""

import subprocess
import sys

import loky
import pytest
import torch
from helpers import ROOT

from dpr.base import runtime
from dpr.base.environment import thread_count
from dpr.base.errors import InputError


def test_more_processes_than_gpus_are_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert runtime.device() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match=r"launcher: it started process 3 .* has 2 GPU"):
        runtime.device()


def test_a_random_state_is_restored():
    state = runtime.random_state(torch.device("cpu"))
    first = torch.rand(5)
    assert not torch.equal(torch.rand(5), first)
    runtime.set_random_state(state, torch.device("cpu"))
    assert torch.equal(torch.rand(5), first)


def test_null_threads_are_the_cores_that_the_process_may_use(monkeypatch):
    code = "from dpr.base.environment import thread_count; print(thread_count(None))"
    one = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{0}}); {code}"]
    assert subprocess.check_output(one, cwd=ROOT, text=True) == "1\n"
    monkeypatch.setattr(loky, "cpu_count", lambda only_physical_cores=False: 8)
    assert thread_count(None) == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert thread_count(None) == 2
    assert thread_count(8) == 8
    with pytest.raises(InputError, match=r"threads: 9, but this process may use 8 CPU"):
        thread_count(9)


def test_torch_and_faiss_get_the_threads():
    import faiss

    assert runtime.set_up(1) == 1
    assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == (1, 1)
