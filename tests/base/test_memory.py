"""What is freed goes back to the kernel when it is asked to, and not before."""

import subprocess
import sys

import pytest
from helpers import ROOT

PROGRAM = """
import psutil, torch
from dpr.base import memory, runtime
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
memory.return_freed(over=0.5)
print(mib() - before)
memory.return_freed(over=0.1)
print(mib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's way")
def test_freed_memory_is_kept_and_returned():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    kept, still_kept, returned = map(float, done.stdout.split())
    assert kept > 190
    assert still_kept > 190
    assert returned < 20
