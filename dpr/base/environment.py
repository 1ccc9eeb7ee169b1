"""The CPUs, the launcher and the packages of this process, for commands that need no torch."""

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import loky
import psutil

from dpr.base.errors import InputError

CGROUP = Path("/sys/fs/cgroup")
ENCODING = ("ctranslate2", "sentence-transformers", "tokenizers", "torch", "transformers")
VECTOR_UNITS = {  # flag in /proc/cpuinfo -> name in reports
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx512_bf16": "AVX512-BF16",
    "avx512_vnni": "VNNI",
    "amx_tile": "AMX",
}


def installed(*packages: str) -> dict[str, str]:
    """{package: version}, without the build (`+cpu`) and without packages that are missing."""
    versions = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            versions[package] = version(package).partition("+")[0]
    return versions


def thread_count(threads: int | None) -> int:
    """`threads`; for None, the physical cores that this process may use.

    CPU affinity and a container's quota limit the cores; the processes of a launcher share them.

    Raises:
        InputError: for more threads than CPUs.
    """
    if threads is None:
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # set by the launcher
        return max(1, loky.cpu_count(only_physical_cores=True) // processes)
    usable = loky.cpu_count()
    if threads > usable:
        raise InputError(
            f"params.yaml: threads: {threads}, but this process may use {usable} CPU(s); "
            "give at most that many, or null for the physical cores"
        )
    return threads


def free_memory() -> float:
    """GiB that this process can still take, of the machine and of its container (cgroup v2).

    The processes of a launcher share them.
    """
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError, KeyError):  # no container, or its limit is "max"
        limit, used, rows = (
            (CGROUP / f"memory.{name}").read_text() for name in ("max", "current", "stat")
        )
        cached = int(dict(row.split() for row in rows.splitlines())["inactive_file"])
        free = min(free, int(limit) - int(used) + cached)
    return max(0, free) / 2**30 / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this is the launcher's first process, or the only process."""
    return os.environ.get("RANK", "0") == "0"


def processor() -> str:
    """The CPU, such as `AMD EPYC, family 25, model 17 (AVX2, ...)`; never in a tracked file."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    rows = (line.partition(":") for line in info.read_text().partition("\n\n")[0].splitlines())
    values = {key.strip(): value.strip() for key, _, value in rows}
    name = values.get("model name", platform.machine())
    if "cpu family" not in values:
        return name
    flags = values.get("flags", "").split()
    units = ", ".join(unit for flag, unit in VECTOR_UNITS.items() if flag in flags)
    return f"{name}, family {values['cpu family']}, model {values['model']} ({units})"
