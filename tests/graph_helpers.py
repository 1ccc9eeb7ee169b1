"""dvc.yaml as tests read it: stages, and the deps and outs of each for each system or round."""

import re

import yaml
from helpers import ROOT

FILE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
ROUNDS = FILE["vars"][0]["rounds"]
GRAPH = {name: stage.get("do", stage) for name, stage in FILE["stages"].items()}
IN_ROUNDS = [name for name, stage in FILE["stages"].items() if "foreach" in stage]


def steps(name):
    """(stage, its system or round, or None), in an order in which they can run."""
    if name in IN_ROUNDS:
        last = name == IN_ROUNDS[-1]
        return [(stage, key) for key in ROUNDS for stage in IN_ROUNDS] if last else []
    return [(name, key) for key in GRAPH[name].get("matrix", {"system": [None]})["system"]]


STEPS = [step for name in GRAPH for step in steps(name)]


def filled(text, key):
    """A text of dvc.yaml with the values of a system or a round."""
    item = ROUNDS.get(key, {"system": key or ""})

    def value(found):
        if not found[1]:
            return key
        return item[found[2]] if found[3] is None else item[found[2]][int(found[3])]

    return re.sub(r"\$\{(item\.)?(\w+)(?:\[(\d)\])?\}", value, text)


def expand(entries, key):
    """Paths of deps or outs, of which some carry options."""
    paths = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]
    return [filled(path, key) for path in paths]


def deps(name, key):
    return expand(GRAPH[name]["deps"], key)


def outs(name, key):
    kinds = ("outs", "plots", "metrics")
    return expand([out for kind in kinds for out in GRAPH[name].get(kind, [])], key)


def params(name, key):
    """The keys of params.yaml that a stage names; those of versions.yaml are left out."""
    return [filled(entry, key) for entry in GRAPH[name]["params"] if isinstance(entry, str)]


def is_code(path):
    return path.startswith(("dpr/", "stages/"))
