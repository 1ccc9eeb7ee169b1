"""Processors, threads, devices, random states and memory."""

import subprocess
import sys

import loky
import pytest
import torch
from helpers import ROOT

from dpr.base import environment, runtime
from dpr.base.environment import thread_count
from dpr.base.errors import InputError

CPUINFO = """processor\t: 0
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
flags\t\t: fpu avx2 avx512f avx512_bf16 sse2

processor\t: 1
model name\t: another
"""


def test_the_processor_is_named(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    monkeypatch.setattr(environment, "Path", lambda name: path)
    expected = "AMD EPYC, family 25, model 17 (AVX2, AVX512, AVX512-BF16)"
    assert environment.processor() == expected
    path.write_text("processor: 0\nmodel name: Neoverse\n")  # no family on ARM
    assert environment.processor() == "Neoverse"
    path.unlink()
    assert environment.processor()


LIGHT = """
import os, sys
os.sched_setaffinity(0, {0})
from dpr.base import environment
print(environment.thread_count(None), "torch" in sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the affinity is Linux's")
def test_affinity_limits_the_threads_and_no_torch_is_loaded():
    done = subprocess.check_output([sys.executable, "-c", LIGHT], cwd=ROOT, text=True)
    assert done == "1 False\n"


def test_null_threads_are_the_cores_that_the_process_may_use(monkeypatch):
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


def test_more_processes_than_gpus_are_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert runtime.device() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match=r"launcher: it started process 3 .* has 2 GPU"):
        runtime.device()


def test_a_random_state_is_restored():
    cpu = torch.device("cpu")
    state = runtime.random_state(cpu)
    first, second = torch.rand(5), torch.rand(5)
    assert not torch.equal(first, second)
    runtime.set_random_state(state, cpu)
    assert [torch.equal(torch.rand(5), drawn) for drawn in (first, second)] == [True] * 2


MEMORY = """
import psutil, torch
from dpr.base import runtime
runtime.set_up(threads=1)
def mib():
    return psutil.Process().memory_info().rss / 2**20
before = mib()
kept, freed = [], []
for _ in range(200):
    freed.append(torch.ones(2**18))
    kept.append(torch.ones(100))
del freed
print(mib() - before)
runtime.return_freed(over=0.5)
print(mib() - before)
runtime.return_freed(over=0.1)
print(mib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's way")
def test_freed_memory_is_kept_until_it_is_returned():
    command = [sys.executable, "-c", MEMORY]
    sizes = subprocess.check_output(command, cwd=ROOT, text=True).split()
    kept, still_kept, returned = map(float, sizes)
    assert kept > 190
    assert still_kept > 190
    assert returned < 20


@pytest.mark.parametrize(
    ("limit", "free"),  # GiB
    [(None, 16), ("max", 16), (6, 5), (1, 0), (90, 16)],
)
def test_free_memory_is_that_of_the_machine_and_its_container(tmp_path, monkeypatch, limit, free):
    """Of the 3 GiB that the container has in use, 2 are a cache of files."""
    machine = type("Memory", (), {"available": 16 * 2**30})
    monkeypatch.setattr(environment.psutil, "virtual_memory", lambda: machine)
    monkeypatch.setattr(environment, "CGROUP", tmp_path)
    if limit:
        (tmp_path / "memory.max").write_text("max" if limit == "max" else f"{limit * 2**30}\n")
        (tmp_path / "memory.current").write_text(f"{3 * 2**30}\n")
        (tmp_path / "memory.stat").write_text(f"anon 7\ninactive_file {2 * 2**30}\n")
    assert environment.free_memory() == free
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert environment.free_memory() == free / 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "None")],
)
def test_the_threads_of_a_stage_do_not_spin_for_long(given, expected):
    code = "import os, stages; print(os.environ.get('GOMP_SPINCOUNT'))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True)
    assert done.stdout.strip() == expected
