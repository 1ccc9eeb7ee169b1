"""What a launcher such as torchrun says of this process in its environment."""

import os


def started_first() -> bool:
    """Whether this is the first of its processes, or the only one."""
    return os.environ.get("RANK", "0") == "0"
