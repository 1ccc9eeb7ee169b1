"""The key under which unfinished work is kept: equal keys mean equal bytes in the end.

A killed stage leaves what it has done in a scratch folder, under this key. The next run of the same
work finds it; other work has another key.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch

from dpr.base.files import fingerprint
from dpr.base.versions import ENCODING, installed

PACKAGES = (*ENCODING, "peft")
READ_PARAMS = ("dpr.settings", "dpr.params_file")  # and what is in them


def key(inputs: dict[str, Any], device: torch.device) -> str:
    """16 hexadecimal digits over all that decides the result on this machine, to the last bit.

    That is `inputs`, the packages of dpr that are loaded (but for what only reads params.yaml), the
    versions of the packages that encode and train, and the GPU, or the CPU's vector instructions
    and the number of threads.
    """
    decides = inputs | {
        "code": fingerprint(_code()),
        "cpu": [torch.backends.cpu.get_cpu_capability(), dict(torch.cpu.get_capabilities())],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "versions": installed(*PACKAGES),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _code() -> list[Path]:
    """All modules of a loaded package, since some are only imported when they are needed."""
    code: set[Path] = set()
    for name, module in list(sys.modules.items()):
        if name.startswith("dpr.") and not name.startswith(READ_PARAMS) and module.__file__:
            file = Path(module.__file__)
            code.update([file] if name.count(".") == 1 else file.parent.glob("*.py"))
    return sorted(code)
