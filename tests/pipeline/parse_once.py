"""DVC parses the same dvc.yaml and dvc.lock hundreds of times; after `install`, each text once."""

import io
import json
import pickle
from pathlib import Path

from ruamel.yaml import YAML

LOAD, DUMP = YAML.load, YAML.dump
PARSED = {}  # {text: its values, pickled}


def install(patch=setattr):
    patch(YAML, "load", load)
    patch(YAML, "dump", dump)


def is_lock(text):
    """A dvc.lock has no comments that an update must keep."""
    return text.startswith("schema:")


def load(yaml, stream):
    if not isinstance(stream, str) or ("safe" not in yaml.typ and not is_lock(stream)):
        return LOAD(yaml, stream)
    if stream not in PARSED:
        PARSED[stream] = pickle.dumps(LOAD(YAML(typ="safe"), stream))
    return pickle.loads(PARSED[stream])


def dump(yaml, data, stream):
    if isinstance(stream, Path):  # not DVC
        return DUMP(yaml, data, stream)
    written = io.StringIO()
    DUMP(yaml, data, written)
    text = written.getvalue()
    stream.write(text)
    if is_lock(text):
        PARSED[text] = pickle.dumps(json.loads(json.dumps(data)))
