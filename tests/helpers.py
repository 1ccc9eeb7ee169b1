"""What several tests call. (Fixtures are in conftest.py.)"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from dpr.collections import door, writer
from dpr.settings import load_settings
from dpr.training.validation import Validation

ROOT = Path(__file__).parents[1]
PARAMS = load_settings(ROOT / "params.yaml")
DATA = PARAMS.data
HEADER = b"query-id\tcorpus-id\tscore\n"
TRIPLE = b"what is a heart\tA muscle.\tA bone.\n"


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def collect(name, out, **changes):
    data = DATA.model_copy(update={"collection": name} | changes)
    return writer.write_collection(door.open_collection(data), out, name)


def train(name, out, **changes):
    data = DATA.model_copy(update={"train": name, "held_out": 1} | changes)
    return writer.write_training(door.open_training(data), out, name)


def settings(**changes):
    small = {"batch_size": 6, "max_steps": 12, "eval_every": 4, "precision": "fp32", "lr": 1e-3}
    small |= {"initial_share": 0.0, "group_by": None}
    return PARAMS.train.model_copy(update=small | changes)


def rising(encoder, step):
    """A validation that finds every step better."""
    return Validation(step, 0.0, float(step))


def environment():
    """That of a command in a clone: this Python's commands, and compiled files written.

    They must not matter to DVC.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"PATH": path}


def sh(folder, command):
    done = subprocess.run(
        shlex.split(command), cwd=folder, capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
