"""Every command of README, docs and CONTRIBUTING: run, or parsed if a different test runs it."""

import argparse
import re
import runpy
import shlex
import sys

import dvc.cli
import pytest
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from graph_helpers import STEPS
from helpers import ROOT, sh

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


ALL = list(dict.fromkeys(command for page in PAGES for command in commands(page)))


def exp_run(experiment, words):
    """The overrides give parameters that load, and targets are stages. (A slow test has a grid.)"""
    arguments = dvc.cli.parse_args(words[1:])
    assert set(arguments.targets) <= TARGETS
    overrides = [override.replace("/PATH/", "/data/") for override in arguments.set_param]
    path = experiment / "params.yaml"
    before = path.read_text()
    try:
        for sweep in get_hydra_sweeps({"params.yaml": overrides}) if overrides else []:
            path.write_text((ROOT / "params.yaml").read_text())
            apply_overrides(path, sweep["params.yaml"])
            load_settings(path)
    finally:
        path.write_text(before)


class Parsed(BaseException):
    """The arguments were accepted."""


def parsed(experiment, words):
    """The module's parser accepts the arguments; its work does not begin."""

    def parse_args(self, *given, original=argparse.ArgumentParser.parse_args):
        original(self, *given)
        raise Parsed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed):
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        patch.setattr(sys, "argv", words[2:])
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)


def dvc_parsed(experiment, words):
    """DVC's own parser accepts it; targets of `dvc repro` are stages."""
    arguments = dvc.cli.parse_args(words[1:])
    if words[1] == "repro":
        assert set(arguments.targets) <= TARGETS


def tracked(experiment, words):
    paths = [word for word in words if word not in ("git", "restore", "pytest")]
    sh(experiment, shlex.join(["git", "ls-files", "--error-unmatch", *paths]))


def run(experiment, words):
    words = [word.replace("/PATH/", f"{experiment.parent}/") for word in words]
    return sh(experiment, shlex.join(words))


def unchecked(experiment, words):
    """A placeholder, or a command that changes more than the experiment."""


# The beginning of a command -> how it is checked. The first that fits decides.
CHECKS = {
    "make": lambda experiment, words: run(experiment, ["make", "-n", *words[1:]]),
    "dvc exp run": exp_run,
    "dvc metrics diff --targets metrics/eval.json": run,
    "dvc exp show": run,
    "dvc checkout": run,
    "dvc plots show": lambda experiment, words: run(experiment, [*words, "-o", "plots-as-html"]),
    "dvc": dvc_parsed,
    "git restore": tracked,
    "pytest": tracked,
    "source .venv/bin/activate": unchecked,
    "git commit": unchecked,
    "python -m stages.NAME": unchecked,  # tests/stages/test_run.py: each stage
    "python -m tools.report --readme": parsed,
    # No different test runs them in the experiment.
    "python -m tools.ceiling": run,
    "python -m tools.costs": run,
    "python -m tools.export dense F": run,
    "python -m tools.figure": run,
    "python -m tools.lock": run,
    "python -m tools.overlap": run,
    "python -m tools.versions": run,
    "python -m ": parsed,
}


@pytest.fixture(scope="module", autouse=True)
def _inside(experiment):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(experiment)
        yield


@pytest.mark.parametrize("command", ALL)
def test_a_documented_command_works(experiment, command):
    start = next((start for start in CHECKS if command.startswith(start)), None)
    assert start, f"no check for this command: {command}"
    CHECKS[start](experiment, shlex.split(command))


def test_the_commands_are_extracted():
    assert len(ALL) > 40
    assert "python -m tools.export dense FOLDER" in ALL
    assert any(command.startswith("dvc exp run --queue -S train.max_steps=null") for command in ALL)
