"""DVC parses the same dvc.yaml and dvc.lock hundreds of times; after `install`, each text once."""

import io
import json
from pathlib import Path

from ruamel.yaml import YAML

LOAD, DUMP = YAML.load, YAML.dump
PARSED = {}  # {text: its values as JSON, which is fast to copy}


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
        PARSED[stream] = json.dumps(LOAD(YAML(typ="safe"), stream))
    return json.loads(PARSED[stream])


def dump(yaml, data, stream):
    if isinstance(stream, Path):  # not DVC
        return DUMP(yaml, data, stream)
    written = io.StringIO()
    DUMP(yaml, data, written)
    text = written.getvalue()
    stream.write(text)
    if is_lock(text):
        PARSED[text] = json.dumps(data)
