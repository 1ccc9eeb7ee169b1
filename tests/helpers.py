"""What several tests call. (Fixtures are in conftest.py.)"""

import json
from pathlib import Path

from dpr.collections import door, writer
from dpr.settings import load_settings

PARAMS = load_settings(Path(__file__).parents[1] / "params.yaml")
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
    return PARAMS.train.model_copy(update=small | changes)
