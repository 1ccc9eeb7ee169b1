"""What several tests call. (Fixtures are in conftest.py.)

What loads slowly is imported when it is called: all tests import this module.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from dpr.settings import Pooling, load_settings

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
SHARED = ROOT.parent / "shared"  # reference data beside the repository, no part of it
PARAMS = load_settings(ROOT / "params.yaml")
DATA = PARAMS.data
POOLINGS = get_args(Pooling)
PRINTED = ".scratch/printed.txt"  # in the clone of the tiny experiment: all that its stages print
HEADER = b"query-id\tcorpus-id\tscore\n"
TRIPLE = b"what is a heart\tA muscle.\tA bone.\n"

# For tests that need that data: skipped if it is missing, never if it is there (conftest.py).
needs_shared = pytest.mark.needs_shared


def works(*command):
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


# Goes before a command that shall have no network; empty if the system does not let users do that.
NO_NETWORK = ["unshare", "--user", "--map-root-user", "--net"]
NO_NETWORK = NO_NETWORK if works(*NO_NETWORK, "true") else []


def contents(passage, separator=". "):
    """The text of a passage that is encoded, by its definition."""
    if passage.title and passage.text:
        return passage.title + separator + passage.text
    return passage.title or passage.text


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def change_json(path, **values):
    """Change some keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def collect(name, out, **changes):
    from dpr.sources import registry, write

    data = DATA.model_copy(update={"collection": name} | changes)
    collection = registry.open_collection(data)
    return write.write_collection(collection, out, name, data.drop_query_id, data.passages)


def training(name, **changes):
    """The training data of a source."""
    from dpr.sources import registry
    from dpr.sources.mixture import mix

    data = DATA.model_copy(update={"train": name, "held_out": 1} | changes)
    return mix(data.source_names, registry.open_training(data))


def train(name, out, **changes):
    from dpr.sources import write

    data = DATA.model_copy(update=changes)
    chosen = (data.drop_query_id, data.passages)
    return write.write_training(training(name, **changes), out, name, *chosen)


SHORT = {"query_max_length": 16, "passage_max_length": 32}  # of a tiny model


def open_model(name, similarity=None, **changes):
    """The encoder of a model, with these changes of `model` in params.yaml."""
    from dpr.encoders.pretrained import pretrained

    settings = PARAMS.model.model_copy(update={"name": str(name)} | changes)
    return pretrained(settings, similarity)[0].eval()


def settings(**changes):
    small = {"batch_size": 6, "max_steps": 12, "eval_every": 4, "precision": "fp32", "lr": 1e-3}
    small |= {"initial_share": 0.0, "group_by": None, "freeze_embeddings": False}
    small |= {"symmetric": False}
    return PARAMS.train.model_copy(update=small | changes)


def rising(encoder, step):
    """A validation that finds every step better."""
    from dpr.training.log import Validation

    return Validation(step, 0.0, float(step))


def environment():
    """Of a command in a clone: this Python's commands first on the PATH, and bytecode written.

    DVC must ignore it.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"PATH": path}


def call(folder, command, **changes):
    """Run a command in a folder, with these changes of its environment."""
    options = {"cwd": folder, "capture_output": True, "text": True}
    return subprocess.run(shlex.split(command), env=environment() | changes, **options)


def sh(folder, command):
    """The standard output of a command that must succeed."""
    done = call(folder, command)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def write_params(path, changes):
    """params.yaml with some values changed: {"train.lr": 1e-5}.

    Unless asked, it has one round, and one thread: tests that run at once share the cores.
    """
    yaml = YAML(typ="safe", pure=True)
    values = yaml.load(ROOT / "params.yaml")
    for key, value in ({"second.use": False, "threads": 1} | changes).items():
        *groups, name = key.split(".")
        group = values
        for part in groups:
            group = group[part]
        assert name in group, key
        group[name] = value
    yaml.dump(values, path)
    return path


def clone_into(folder, lock=True):
    """The files of this checkout, committed or not, as a fresh git repository.

    Without `lock`, its dvc.lock is empty, which DVC reads and writes much faster.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    if not lock:
        (folder / "dvc.lock").write_text("schema: '2.0'\n")
    sh(folder, "git init -q")
    sh(folder, "git add -A")
    sh(folder, "git -c user.name=t -c user.email=t@example.org commit -qm start")
    return folder


def two_processes(script, text, **names):
    """Run a script, with its {names} filled in, in two processes of torchrun; its output."""
    done = processes(2, script, text, **names)
    assert done.returncode == 0, done.stderr
    return done.stdout


def processes(count, script, text, **names):
    """Run a script, with its {names} filled in, in so many processes of torchrun."""
    paths = [str(path) for path in (ROOT, TESTS, TESTS / "training", TESTS / "embeddings")]
    script.write_text(f"import sys\nsys.path[:0] = {paths!r}\n" + text.format(**names))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(count), str(script)]
    return subprocess.run(command, capture_output=True, text=True)


def folder_of_sentence_transformers(tiny_model, folder, pooling, normalize):
    """A model as that library itself saves it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    transformer = Transformer(tiny_model)
    parts = [transformer, Pooling(32, pooling)]
    parts += [Normalize()] if normalize else []
    SentenceTransformer(modules=parts, device="cpu").save(str(folder))
    return str(folder)


def with_tokens(tiny_model, folder, **tokens):
    """The tiny model, with these special tokens recorded and no others; None leaves one out."""
    shutil.copytree(tiny_model, folder)
    path = folder / "tokenizer_config.json"
    kept = {k: v for k, v in json.loads(path.read_text()).items() if not k.endswith("_token")}
    kept |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(kept | tokens))
    return str(folder)


def of_modules(folder, *modules):
    """A model of these modules, as sentence-transformers saves it."""
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(modules=[*modules], device="cpu").save(str(folder))
