"""The setup of a computation: seeds, threads, device, memory and random states."""

import ctypes
import os
import random
import sys

import numpy as np
import torch

from dpr.base.environment import thread_count
from dpr.base.errors import InputError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
# oneDNN caches a program per matrix shape. With varied text lengths, its default of 1,024 programs
# takes a gigabyte.
CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "200", "LRU_CACHE_CAPACITY": "128"}


def set_up(threads: int | None, seed: int = 0) -> int:
    """Make a process repeatable: equal seeds and threads give equal bytes on one machine.

    Returns: the number of threads, as `thread_count` computes it.
    """
    threads = thread_count(threads)
    # torch and faiss have separate copies of OpenMP. faiss reads the variable at import.
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
    # Some GPU kernels have no deterministic form: torch warns once and continues. (This call equals
    # `use_deterministic_algorithms`, which also spends a second on loading torch's compiler.)
    torch.set_deterministic_debug_mode("warn" if torch.accelerator.is_available() else "error")
    # Filling memory is slow, and nothing reads it. (mypy does not know the attribute.)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _keep_freed_memory()
    return threads


def device() -> torch.device:
    """The GPU that the launcher gives to this process (LOCAL_RANK), or the CPU.

    DPR_DEVICE=mps selects a Mac's GPU. It is not the default because nobody has tried it yet.

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
            f"params.yaml: launcher: it started process {rank + 1} on this machine, which has "
            f"{count} GPU(s); start at most {count} per machine"
        )
    return torch.device("cuda", rank)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of torch's generators as uint8, for "cpu" and for the type of the device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states


def set_random_state(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Restore what `random_state` returned."""
    # Cloned: torch needs an aligned address, and a state read from a file may lack one.
    torch.set_rng_state(states["cpu"].cpu().clone())
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[device.type].cpu().clone())


def return_freed(over: float) -> None:
    """Return freed memory to the kernel once it exceeds `over` GiB (Linux only).

    Fragmentation grows with each step because text lengths vary.
    """
    libc = _glibc("mallinfo2")
    if libc:
        libc.mallinfo2.restype = _Mallinfo2
        if libc.mallinfo2().fordblks > over * 2**30:
            libc.malloc_trim(0)


def _keep_freed_memory() -> None:
    """Let glibc reuse the memory of large tensors instead of returning it to the kernel.

    By default, every large tensor is mapped, zeroed and unmapped page by page. That makes a
    training step on a CPU 1.5 times as long.
    """
    for name, capacity in CACHES.items():
        os.environ.setdefault(name, capacity)
    libc = _glibc("mallopt")
    if libc:
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def _glibc(function: str) -> ctypes.CDLL | None:
    """The C library, if it has the function."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, function) else None
