"""The memory that a process keeps after it was freed, and what libraries keep for later.

Results are the same with any of it. What glibc does is for Linux only.


What a process runs on: seeds, threads, device and memory.
"""

import ctypes
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from dpr.base.environment import thread_count
from dpr.base.errors import InputError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
# oneDNN keeps a program for each shape of a product, 1,024 of them: a gigabyte if texts vary.
CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "200", "LRU_CACHE_CAPACITY": "128"}


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def keep_freed() -> None:
    """Let glibc use the memory of large tensors again and not return it to the kernel.

    By default every large tensor is mapped, zeroed and unmapped again, page by page, which makes a
    training step on a CPU 1.5 times as long.
    """
    for name, capacity in CACHES.items():
        os.environ.setdefault(name, capacity)
    libc = _glibc("mallopt")
    if libc:
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def return_freed(over: float) -> None:
    """Return freed memory to the kernel if there are more than so many GiB of it.

    It becomes more with each step, since texts of other lengths seldom fit into its pieces.
    """
    libc = _glibc("mallinfo2")
    if libc:
        libc.mallinfo2.restype = _Mallinfo2
        if libc.mallinfo2().fordblks > over * 2**30:
            libc.malloc_trim(0)


def _glibc(function: str) -> ctypes.CDLL | None:
    """The C library, if it is one that has the function."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, function) else None


def set_up(threads: int | None, seed: int = 0) -> int:
    """Make a process repeatable: equal seeds and threads give equal bytes on one machine.

    Returns: the number of threads, see `thread_count`.
    """
    threads = thread_count(threads)
    # torch and faiss each bring their own OpenMP; faiss reads the variable when it is imported.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "faiss" in sys.modules:
        sys.modules["faiss"].omp_set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matmul on CUDA
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if threads > 1 else "false")
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    # Some kernels on GPUs have no deterministic form: torch says so once, and goes on. (The same as
    # `use_deterministic_algorithms`, which also loads torch's compiler, for a second.)
    torch.set_deterministic_debug_mode("warn" if torch.accelerator.is_available() else "error")
    # Slow, and never read. (torch sets the module up so that mypy cannot see the attribute.)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    keep_freed()
    return threads


def device() -> torch.device:
    """The GPU that the launcher gives to this process (LOCAL_RANK), or the CPU.

    DPR_DEVICE=mps takes the GPU of a Mac. (Not by default: it was never tried on one.)

    Raises:
        InputError: if a launcher started more processes than there are GPUs.
    """
    if os.environ.get("DPR_DEVICE") == "mps":
        if not torch.backends.mps.is_available():
            raise InputError("DPR_DEVICE: mps, but this machine has none; leave it unset")
        return torch.device("mps")
    if not torch.cuda.is_available():
        return torch.device("cpu")
    rank, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= count:
        raise InputError(
            f"params.yaml: launcher: it started process {rank + 1} of this machine, which has "
            f"{count} GPU(s); start no more processes than that"
        )
    return torch.device("cuda", rank)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The state of torch's random generators, to be restored by `set_random_state`."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_state(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Restore what `random_state` returned."""
    # Cloned, since torch wants an aligned address and a row of a file may have none.
    torch.set_rng_state(states["cpu"].cpu().clone())
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu().clone(), device)
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"].cpu().clone())


@contextmanager
def random_state_of(states: dict[str, torch.Tensor], device: torch.device) -> Iterator[None]:
    """The block draws from there; later draws are unaffected."""
    before = random_state(device)
    set_random_state(states, device)
    try:
        yield
    finally:
        set_random_state(before, device)
