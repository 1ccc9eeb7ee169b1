"""Every command of README, docs and CONTRIBUTING: run, or what of it can be checked in seconds."""

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


def commands(page):
    """The commands of a page: the lines of its bash blocks, and those within its sentences."""
    text = page.read_text()
    found = INLINE.findall(text.replace("\n", " "))
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"^([A-Z0-9_]+=\S+ )+", "", line)  # variables of the environment
            found += re.sub(r"(^|\s)# .*$", "", line).split(" && ")
    return [" ".join(command.split()) for command in found if command.strip()]


TARGETS = {name if key is None else f"{name}@{key}" for name, key in STEPS} | {"dvc.yaml"}
ALL = list(dict.fromkeys(command for page in PAGES for command in commands(page)))


def exp_run(experiment, words):
    """The overrides give parameters that load, and targets are stages. (A slow test has a grid.)"""
    arguments = dvc.cli.parse_args(words)
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


def tool(experiment, words):
    """Run in the clone, with its experiment for every name."""
    module, arguments = words[0], words[1:]
    if module == "tools.diff":
        sides = [side if side == "workspace" else "tiny" for side in arguments[:2]]
        arguments = sides + arguments[2:]
    arguments = [argument.replace("/PATH/", f"{experiment.parent}/") for argument in arguments]
    assert sh(experiment, shlex.join(["python", "-m", module, *arguments]))


class Parsed(BaseException):
    """The arguments were accepted."""


def parsed(experiment, words):
    """The arguments are parsed, and the work is not begun."""

    def parse_args(self, *given, original=argparse.ArgumentParser.parse_args):
        original(self, *given)
        raise Parsed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed):
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        patch.setattr(sys, "argv", words)
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def dvc_parsed(experiment, words):
    """DVC's own parser accepts it; targets of `dvc repro` are stages."""
    arguments = dvc.cli.parse_args(words)
    if words[0] == "repro":
        assert set(arguments.targets) <= TARGETS


def tracked(experiment, words):
    sh(experiment, shlex.join(["git", "ls-files", "--error-unmatch", *words]))


def run(experiment, words):
    sh(experiment, shlex.join(words))


# The beginning of a command -> how it is checked, and with which of its words.
CHECKS = {
    "make": lambda clone, words: run(clone, ["make", "-n", *words[1:]]),
    "dvc exp run": lambda clone, words: exp_run(clone, words[1:]),
    "dvc exp apply": lambda clone, words: dvc_parsed(clone, words[1:]),
    "dvc queue start": lambda clone, words: dvc_parsed(clone, words[1:]),
    "dvc repro": lambda clone, words: dvc_parsed(clone, words[1:]),
    "dvc plots show": lambda clone, words: run(clone, [*words, "-o", "plots-as-html"]),
    "dvc artifacts get": lambda clone, words: dvc_parsed(clone, words[1:]),
    "dvc get": lambda clone, words: dvc_parsed(clone, words[1:]),
    "dvc": run,  # exp show, metrics diff, checkout
    "git restore": lambda clone, words: tracked(clone, words[2:]),
    "pytest": lambda clone, words: tracked(clone, words[1:]),
    "source .venv/bin/activate": lambda clone, words: None,
    "git commit": lambda clone, words: None,
    "python -m stages.NAME": lambda clone, words: None,  # tests/stages/test_run.py: each stage
    # They run experiments, or look at metrics that are not those of the tiny encoder.
    "python -m tools.suite": lambda clone, words: parsed(clone, words[2:]),
    "python -m tools.verify": lambda clone, words: parsed(clone, words[2:]),
    "python -m tools.report --readme": lambda clone, words: parsed(clone, words[2:]),
    "python -m tools.report HEAD NAME": lambda clone, words: parsed(clone, words[2:]),
    "python -m tools.versions": run,
    "python -m tools.": lambda clone, words: tool(clone, words[2:]),
    "python -m benchmarks.": lambda clone, words: parsed(clone, words[2:]),
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


def test_the_commands_are_found():
    assert len(ALL) > 40
    assert "python -m tools.export dense FOLDER" in ALL
    assert any(command.startswith("dvc exp run --queue -S train.max_steps=null") for command in ALL)
