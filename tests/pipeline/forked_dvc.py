"""The command `dvc`, with stages as forks of its own process.

Stages of a tiny experiment spend most of their time on imports.
"""

import importlib
import multiprocessing
import os
import runpy
import shlex
import sys
from pathlib import Path

import parse_once
from dvc import cli
from dvc.stage import run
from dvc.stage.exceptions import StageCmdFailedError

LIBRARIES = ["ctranslate2", "faiss", "ir_measures", "scipy.stats", "transformers.models.bert"]


def fork(executable, command, cwd, env, **_):
    """In place of `dvc.stage.run._run`, which starts a shell."""
    python, option, *words = shlex.split(command)
    assert (python, option) == ("python", "-m")
    child = multiprocessing.get_context("fork").Process(target=stage, args=(words, cwd, env))
    child.start()
    child.join()
    if child.exitcode:
        raise StageCmdFailedError(command, child.exitcode)


def stage(words, folder, environment):
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    sys.path[0] = str(Path.cwd())
    for path in Path("stages").glob("[a-z]*.py"):
        importlib.import_module(f"stages.{path.stem}")
    for library in LIBRARIES:
        importlib.import_module(library)
    from transformers import BertModel, BertTokenizerFast  # noqa: F401  loaded when asked for

    run._run = fork
    parse_once.install()
    sys.exit(cli.main(sys.argv[1:]))
