"""dvc.yaml says what the code does: deps are imports, params are what a stage reads."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from dpr.settings import IndexSettings

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# They hand on what `params` names, and errors; and nothing that stands in an output.
LEFT_OUT = {"dpr/settings.py", "stages/__init__.py"}
NO_INPUT = {"save_every"}  # a change of it is no reason to train again


def modules_imported(path):
    """Files of this repository that a module imports, those with nothing but a docstring apart."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    candidates = {Path(*name.split(".")) for name in names}
    files = {p.with_suffix(".py") for p in candidates} | {p / "__init__.py" for p in candidates}
    return {
        str(f)
        for f in files
        if (ROOT / f).exists() and len(ast.parse((ROOT / f).read_text()).body) > 1
    }


def closure(path):
    seen, left = set(), {path}
    while left:
        seen |= left
        left = {i for p in left for i in modules_imported(p)} - seen - LEFT_OUT
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_modules_imported(stage):
    code = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    assert code == closure(f"stages/{stage}.py")


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_the_settings_read(stage):
    text = (ROOT / "stages" / f"{stage}.py").read_text()
    read = set(re.findall(r"settings\.((?:\w+\.)*\w+)", text))
    declared = set(STAGES[stage]["params"])
    for key in read - NO_INPUT:
        assert any(
            key == d or key.startswith(d + ".") or d.startswith(key + ".") for d in declared
        ), f"{key} is not declared"
    for key in declared:
        assert any(r == key or r.startswith(key + ".") or key.startswith(r + ".") for r in read), (
            f"{key} is not read"
        )


@pytest.mark.parametrize("stage", STAGES)
def test_files_named_in_a_stage_are_its_deps_or_outs(stage):
    text = (ROOT / "stages" / f"{stage}.py").read_text()
    named = set(re.findall(r'"((?:data|metrics|plots)/[^"{]*)', text))
    listed = STAGES[stage]["deps"] + [
        next(iter(out)) if isinstance(out, dict) else out
        for kind in ("outs", "metrics")
        for out in STAGES[stage].get(kind, [])
    ]
    for path in named:
        assert any(entry.startswith(path.rstrip("/")) for entry in listed), path


def test_what_is_only_audited_does_not_build_the_index_again():
    declared = {key for key in STAGES["index"]["params"] if key.startswith("index.")}
    assert declared == {f"index.{key}" for key in IndexSettings.model_fields} - {"index.min_recall"}
