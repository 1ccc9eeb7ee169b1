"""dvc.yaml says what the stages do: each runs with its declared deps alone, and is watched.

Its code deps are the packages that it imports from, its data deps the files that it opens, its
params the settings that it reads, its outs the files that it makes.
"""

import importlib
import os
import re
import shutil
import sys
from pathlib import Path

import grimp
import pytest
import yaml
from helpers import ROOT, write_params

from dpr.base.files import sha256
from dpr.settings import Group, Settings

GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# They only pass on what `params` names, decide no output, or hold a docstring alone.
LEFT_OUT = {"dpr", "stages", "dpr.settings", "dpr.params_file", "stages.run"}
NO_INPUT = {"save_every"}  # it decides no output
READ_BY_JAVA = {"data/indexes/bm25"}  # no Python opens it

CHANGES = {
    "data.separator": " ",
    "model.query_max_length": 16,
    "model.passage_max_length": 32,
    "mine.bm25.use": True,
    "mine.encoder.use": True,
    "train.max_steps": 2,
    "train.batch_size": 3,
    "train.valid_passages": 40,
    "encode.precision": "fp32",
    "audit.min_recall": 0.0,
}


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


def is_code(path):
    return path.startswith(("dpr/", "stages/"))


# --- code


@pytest.fixture(scope="module")
def imports():
    sys.path.insert(0, str(ROOT))
    return grimp.build_graph("dpr", "stages", cache_dir=None)


@pytest.mark.parametrize("name", GRAPH)
def test_code_deps_are_the_packages_imported_from(imports, name):
    seen, left = set(), {f"stages.{name}"}
    while left:
        seen |= left
        found = (imports.find_modules_directly_imported_by(module) for module in left)
        left = set().union(*found) - seen - LEFT_OUT
    expected = set()
    for module in seen:
        package, part = module.split(".")[:2]
        whole = (ROOT / package / part).is_dir()
        expected.add(f"{package}/{part}" if whole else f"{package}/{part}.py")
    assert {dep for dep in deps(name, "dense") if is_code(dep)} == expected


@pytest.mark.parametrize("name", ["train", "encode"])
def test_training_and_encoding_depend_on_little(name):
    code = {dep for dep in deps(name, "dense") if is_code(dep)}
    elsewhere = ("sources", "evaluation", "runs", "bm25", "indexes", "mining")
    assert not code & {f"dpr/{package}" for package in elsewhere}


# --- data and params, of stages that run


class Watch:
    """What a stage does: the settings that it reads and the files that it opens."""

    def __init__(self):
        self.groups, self.settings, self.opened, self.on = {}, set(), set(), False

    def loaded(self, settings):
        self.groups, self.settings = {id(settings): (settings, "")}, set()
        self.on = True
        return settings

    def read(self, group, name, value):
        known = self.groups.get(id(group))
        if not self.on or known is None or known[0] is not group:
            return
        path = known[1] + name
        if isinstance(value, Group):
            self.groups[id(value)] = (value, f"{path}.")
        elif name in type(group).model_fields:
            self.settings.add(path)
        elif name == "model_dump":
            self.settings |= {known[1] + field for field in type(group).model_fields}


WATCH = Watch()


def on_open(event, arguments):
    if event == "open" and WATCH.on and isinstance(arguments[0], str | os.PathLike):
        WATCH.opened.add(os.fspath(arguments[0]))


@pytest.fixture(scope="module")
def watched(tmp_path_factory, tiny_model):
    """{(stage, system): (settings read, files opened, files made)}, from one run of the graph.

    Each stage runs in a folder that holds its declared deps and nothing else.
    """
    sys.addaudithook(on_open)
    original = Group.__getattribute__

    def recording(self, name):
        value = original(self, name)
        if not name.startswith("__"):
            WATCH.read(self, name, value)
        return value

    root = tmp_path_factory.mktemp("watched")
    source, made, found = root / "source", root / "made", {}
    write_source(source)
    changes = {"data.collection": f"beir:{source}", "data.train": f"beir:{source}"}
    changes |= CHANGES | {"model.name": tiny_model}
    params = write_params(root / "params.yaml", changes)
    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Group, "__getattribute__", recording)
        for name, system in STEPS:
            folder = root / f"{name}-{system}"
            folder.mkdir()
            shutil.copy(params, folder / "params.yaml")
            for dep in deps(name, system):
                if not is_code(dep):
                    copy(made / dep, folder / dep)
            given = files(folder)
            module = importlib.import_module(f"stages.{name}")
            load = module.load_settings
            patch.setattr(module, "load_settings", lambda path, load=load: WATCH.loaded(load(path)))
            WATCH.opened = set()
            os.chdir(folder)
            try:
                module.main(*([system] if system else []))
            finally:
                os.chdir(here)
                WATCH.on = False
            opened = {path for path in WATCH.opened if not Path(path).is_absolute()}
            opened |= {
                str(Path(path).relative_to(folder)) for path in WATCH.opened if str(folder) in path
            }
            now = files(folder)
            assert {path: now.get(path) for path in given} == given, f"{name} changes its deps"
            found[name, system] = (WATCH.settings, opened, now.keys() - given.keys())
            for out in outs(name, system):
                copy(folder / out, made / out)
    return found


def write_source(folder):
    """Eight topics, each a word of eight passages, two of which are judged relevant."""
    from dpr.records import beir
    from dpr.records.types import Judgment, Passage, Query

    words = ["heart", "lung", "liver", "kidney", "brain", "bone", "skin", "eye"]
    texts = [(word, f"about the {word} " * (1 + i % 3)) for i, word in enumerate(words * 8)]
    beir.write_passages(folder, [Passage(f"d{i}", *text) for i, text in enumerate(texts)])
    beir.write_queries(folder, [Query(f"q{i}", word) for i, word in enumerate(words)])
    for split, numbers in (("train", range(4)), ("valid", (4, 5)), ("test", (6, 7))):
        judged = [Judgment(f"q{i}", f"d{i + 8 * n}", 1) for i in numbers for n in range(2)]
        beir.write_qrels(folder, split, judged)


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def files(folder):
    """{path: sha256} of the files below a folder, but for scratch files."""
    found = {str(p.relative_to(folder)): sha256(p) for p in folder.rglob("*") if p.is_file()}
    return {path: digest for path, digest in found.items() if not path.startswith(".scratch")}


def covers(entry, path):
    return path == entry or path.startswith(entry + "/")


@pytest.mark.parametrize(("name", "system"), STEPS)
def test_a_stage_opens_what_it_declares(watched, name, system):
    """(That it opens nothing else is known too: nothing else was there.)"""
    _, opened, _ = watched[name, system]
    for dep in deps(name, system):
        if not is_code(dep) and dep not in READ_BY_JAVA:
            assert any(covers(dep, path) for path in opened), f"{dep} is not read"


@pytest.mark.parametrize(("name", "system"), STEPS)
def test_a_stage_makes_what_it_declares(watched, name, system):
    _, _, made = watched[name, system]
    declared = outs(name, system)
    assert {path for path in made if not any(covers(out, path) for out in declared)} == set()
    assert {out for out in declared if not any(covers(out, path) for path in made)} == set()


@pytest.mark.parametrize(("name", "system"), STEPS)
def test_params_are_the_settings_that_a_stage_reads(watched, name, system):
    read, _, _ = watched[name, system]
    declared = GRAPH[name]["params"]

    def inside(key, group):
        return key == group or key.startswith(group + ".")

    undeclared = {key for key in read - NO_INPUT if not any(inside(key, d) for d in declared)}
    assert undeclared == set()
    unread = {d for d in declared if not any(inside(key, d) for key in read)}
    assert unread == set()


def leaves(group, prefix=""):
    for name, field in group.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            yield from leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_parameter_is_declared_and_used():
    """Used: some module asks for an attribute of its name. (`launcher` is in a cmd of dvc.yaml.)"""
    declared = {key.split(".")[0] for stage in GRAPH.values() for key in stage["params"]}
    assert declared | NO_INPUT | {"launcher"} == set(Settings.model_fields)
    paths = [*(ROOT / "dpr").rglob("*.py"), *(ROOT / "stages").glob("*.py")]
    code = "".join(path.read_text() for path in paths if path.name != "settings.py")
    attributes = set(re.findall(r"\.(\w+)", code)) | {"launcher"}
    assert {key for key in leaves(Settings) if key.split(".")[-1] not in attributes} == set()
