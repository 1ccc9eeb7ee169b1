"""dvc.yaml as DVC resolves it: the deps, outs and params of each step.

A step is a stage and its system or round, or None: ("mine", "first").
"""

from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.repo.reproduce import plan_repro
from helpers import ROOT


def step(stage):
    name, _, key = stage.name.partition("@")
    return name, key or None


with Repo(ROOT) as repo:
    GRAPH = {step(stage): stage for stage in plan_repro(repo.index.graph)}

STEPS = list(GRAPH)  # in the order in which DVC runs them
STAGES = dict(reversed(STEPS))  # {stage: one of its systems or rounds}


def deps(name, key):
    """Data and code."""
    of_stage = GRAPH[name, key].deps
    return [dep.def_path for dep in of_stage if not isinstance(dep, ParamsDependency)]


def code_deps(name, key):
    return {dep for dep in deps(name, key) if is_code(dep)}


def outs(name, key):
    return [out.def_path for out in GRAPH[name, key].outs]


def params(name, key, file="params.yaml"):
    """The keys of a file that a stage declares."""
    of_stage = [dep for dep in GRAPH[name, key].deps if isinstance(dep, ParamsDependency)]
    return {param for dep in of_stage if dep.def_path == file for param in dep.params}


def is_code(path):
    return path.startswith(("dpr/", "stages/"))
