"""dvc.yaml as tests read it: stages, and the deps and outs of each for each system."""

import yaml
from helpers import ROOT

GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def expand(entries, system):
    """Paths of deps or outs, of which some carry options, for one system of the matrix."""
    paths = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]
    return [path.replace("${item.system}", system or "") for path in paths]


STEPS = [  # (stage, system), the latter None but for stages with a matrix
    (name, system)
    for name, stage in GRAPH.items()
    for system in stage.get("matrix", {"system": [None]})["system"]
]


def deps(name, system):
    return expand(GRAPH[name]["deps"], system)


def outs(name, system):
    return expand(GRAPH[name].get("outs", []) + GRAPH[name].get("metrics", []), system)


def params(name):
    """The keys of params.yaml that a stage names; those of versions.yaml are left out."""
    return [key for key in GRAPH[name]["params"] if isinstance(key, str)]


def is_code(path):
    return path.startswith(("dpr/", "stages/"))
