"""Every command of README, docs, CONTRIBUTING and workflows is parsed; small tools also run."""

import argparse
import re
import runpy
import shlex
import subprocess
import sys

import dvc.cli
import pytest
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from graph_helpers import STEPS
from helpers import ROOT, sh
from ruamel.yaml import YAML

from dpr.settings import load_settings

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
INLINE = re.compile(r"`((?:dvc|python -m|git restore|make|pytest|source) [^`]+)`")
TARGETS = {name if key is None else f"{name}@{key}" for name, key in STEPS} | {"dvc.yaml"}


def commands(page):
    """The commands of a page: the lines of its bash blocks, and those within its sentences."""
    text = page.read_text()
    listed = INLINE.findall(text.replace("\n", " "))
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"^([A-Z0-9_]+=\S+ )+", "", line)  # environment variables
            listed += re.sub(r"(^|\s)# .*$", "", line).split(" && ")
    return [" ".join(command.split()) for command in listed if command.strip()]


def of_workflows():
    """The commands of ours that GitHub runs."""
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        for job in YAML(typ="safe").load(path)["jobs"].values():
            steps = "\n".join(step.get("run", "") for step in job["steps"])
            for line in steps.replace("\\\n", " ").splitlines():
                if line.strip().startswith(("make", "dvc", "pytest", "python -m")):
                    yield " ".join(line.replace("$GITHUB_BASE_REF", "main").split())


ALL = list(dict.fromkeys(command for page in PAGES for command in commands(page)))


def dvc_parsed(words, folder):
    """DVC's parser accepts it, its targets are stages, and its parameters load."""
    arguments = dvc.cli.parse_args(words[1:])
    if words[1:3] == ["exp", "run"] or words[1] == "repro":
        assert set(arguments.targets) <= TARGETS
    changes = [change.replace("/PATH/", "/data/") for change in getattr(arguments, "set_param", [])]
    for sweep in get_hydra_sweeps({"params.yaml": changes}) if changes else []:
        (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
        apply_overrides(folder / "params.yaml", sweep["params.yaml"])
        load_settings(folder / "params.yaml")


class ParsedError(BaseException):
    """The arguments were accepted."""


def parsed(words, folder):
    """The arguments are parsed, and the work is not begun."""

    def parse_args(self, *given, original=argparse.ArgumentParser.parse_args):
        original(self, *given)
        raise ParsedError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(ParsedError):
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        patch.setattr(sys, "argv", words[2:])
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)


def tracked(words, folder):
    """Its files are in git."""
    assert subprocess.run(["git", "ls-files", "--error-unmatch", *words], cwd=ROOT).returncode == 0


CHECKS = {
    "make": lambda words, folder: sh(ROOT, shlex.join(["make", "-n", *words[1:]])),
    "dvc": dvc_parsed,
    "git restore": lambda words, folder: tracked(words[2:], folder),
    "pytest": lambda words, folder: tracked([w for w in words if w.startswith("tests")], folder),
    "source .venv/bin/activate": lambda words, folder: None,
    "git commit": lambda words, folder: None,
    "sbatch": lambda words, folder: None,  # tests/pipeline/test_slurm.py
    "python -m stages.NAME": lambda words, folder: None,  # tests/stages/test_run.py: each stage
    "python -m": parsed,
}


@pytest.mark.parametrize("command", dict.fromkeys([*ALL, *of_workflows()]))
def test_a_documented_command_is_parsed(tmp_path, command):
    start = next((start for start in CHECKS if command.startswith(start)), None)
    assert start, f"no check for this command: {command}"
    CHECKS[start](shlex.split(command), tmp_path)


def test_the_commands_are_extracted():
    assert len(ALL) > 40
    assert "python -m tools.export dense FOLDER" in ALL
    assert any(command.startswith("dvc exp run --queue -S train.max_steps=null") for command in ALL)


SMALL = "python -m tools.(ceiling|costs|export|overlap|versions)"  # other tools have other tests


@pytest.mark.parametrize("command", [command for command in ALL if re.match(SMALL, command)])
def test_a_small_tool_runs(printed, command):
    assert printed(command) or "versions" in command


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [c for c in ALL if re.match("dvc (checkout|exp show|metrics|plots|pull|status)", c)]
)
def test_a_command_that_looks_at_results_runs(experiment, command):
    sh(experiment, command)
