"""The memory that a process keeps after it was freed, and what libraries keep for later.

Results are the same with any of it. What glibc does is for Linux only.
"""

import ctypes
import os
import sys

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
