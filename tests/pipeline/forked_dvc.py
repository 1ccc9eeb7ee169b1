"""The command `dvc`, with stages as forks of its own process.

Stages of a tiny experiment spend most of their time on imports, DVC on parsing the same YAML.
"""

import importlib
import multiprocessing
import os
import pickle
import runpy
import shlex
import sys
from functools import cache
from pathlib import Path

from dvc import cli
from dvc.stage import run
from dvc.stage.exceptions import StageCmdFailedError
from ruamel.yaml import YAML

LIBRARIES = ["ctranslate2", "faiss", "ir_measures", "scipy.stats", "transformers.models.bert"]
LIBRARIES += ["onnxruntime", "openai", "pandas", "sentencepiece", "tiktoken"]  # of pyserini
LOAD = YAML.load


def fork(executable, command, cwd, env, **_):
    """In place of `dvc.stage.run._run`, which starts a shell."""
    python, option, *words = shlex.split(command)
    assert (python, option) == ("python", "-m")
    child = multiprocessing.get_context("fork").Process(target=stage, args=(words, cwd, env))
    child.start()
    child.join()
    if child.exitcode:
        raise StageCmdFailedError(command, child.exitcode)


@cache
def parsed(text):
    return pickle.dumps(LOAD(YAML(typ="safe"), text))


def load(yaml, stream):
    """DVC parses the same dvc.yaml and dvc.lock hundreds of times."""
    if isinstance(stream, str) and "safe" in yaml.typ:
        return pickle.loads(parsed(stream))
    return LOAD(yaml, stream)


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
    YAML.load = load
    sys.exit(cli.main(sys.argv[1:]))
