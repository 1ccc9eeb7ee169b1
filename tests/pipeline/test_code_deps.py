"""The code deps of a stage are the packages that it imports from."""

import sys

import grimp
import pytest
from graph_helpers import GRAPH, STEPS, deps, is_code
from helpers import ROOT

from dpr.embeddings import passages
from stages import train

# They only pass on what `params` names, decide no output, or hold a docstring alone.
LEFT_OUT = {"dpr", "stages", "dpr.settings", "dpr.params_file", "stages.run"}
LEFT_OUT |= {"stages.figures", "stages.versions"}


KEY = dict(reversed(STEPS))  # a system or round of each stage; code is the same for all


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
    assert {dep for dep in deps(name, KEY[name]) if is_code(dep)} == expected


@pytest.mark.parametrize("name", ["train", "encode"])
def test_training_and_encoding_depend_on_little(name):
    code = {dep for dep in deps(name, KEY[name]) if is_code(dep)}
    elsewhere = ("sources", "evaluation", "runs", "bm25", "indexes", "mining")
    assert not code & {f"dpr/{package}" for package in elsewhere}


@pytest.mark.parametrize(
    ("code", "name"), [(passages.CODE, "encode"), (passages.CODE, "vectors"), (train.CODE, "train")]
)
def test_unfinished_work_depends_on_the_code_of_its_stage(code, name):
    expected = {dep for dep in deps(name, KEY[name]) if is_code(dep)}
    if name != "train":  # the two stages share their work
        expected = {dep for dep in expected if dep.startswith("dpr/")}
    assert set(code) == expected
