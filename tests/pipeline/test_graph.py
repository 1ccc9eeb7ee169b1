"""dvc.yaml says what the stages do: the files that each opens and makes, the settings it reads."""

import re

import pytest
from graph_helpers import STEPS, deps, is_code, outs, params
from helpers import ROOT

from dpr.settings import Group, Settings

NO_INPUT = {"save_every", "train_memory", "loggers"}  # they decide no output
NOT_OPENED = {"data/indexes/bm25"}  # Java reads it
NOT_OPENED |= {"metrics/compare.json", "metrics/eval.json"}  # they put audit after them,
NOT_OPENED |= {"data/checked.json"}  # and this the dear stages after check


def covers(entry, path):
    return path == entry or path.startswith(entry + "/")


@pytest.mark.parametrize(("name", "system"), STEPS)
def test_a_stage_opens_what_it_declares(watched, name, system):
    """(That it opens nothing else is known too: nothing else was there.)"""
    _, opened, _ = watched[name, system]
    for dep in deps(name, system):
        if not is_code(dep) and dep not in NOT_OPENED:
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
    declared = params(name, system)

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
    """Used: some module asks for an attribute of its name.

    (`launcher` is in a cmd of dvc.yaml; dpr/settings itself applies `lr_ratio`.)
    """
    declared = {key.split(".")[0] for step in STEPS for key in params(*step)}
    assert declared | NO_INPUT | {"launcher"} == set(Settings.model_fields)
    paths = [*(ROOT / "dpr").rglob("*.py"), *(ROOT / "stages").glob("*.py")]
    code = "".join(path.read_text() for path in paths if path.parent.name != "settings")
    attributes = set(re.findall(r"\.(\w+)", code)) | {"launcher", "lr_ratio"}
    assert {key for key in leaves(Settings) if key.split(".")[-1] not in attributes} == set()
