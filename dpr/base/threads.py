"""How many threads a process has. (Apart from `runtime`, whose torch loads slowly.)"""

import os

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
