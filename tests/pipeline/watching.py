"""Running each stage in a folder that holds its declared deps alone, and watching what it does."""

import importlib
import os
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest
from graph_helpers import STEPS, deps, is_code, outs
from helpers import write_params

from dpr.base.files import sha256
from dpr.settings import Group

CHANGES = {
    "data.separator": " ",
    "model.query_max_length": 16,
    "model.passage_max_length": 32,
    "mine.bm25.use": True,
    "mine.encoder.use": True,
    "teacher.depth": 5,
    "train.teacher_share": 0.5,
    "train.roles": "query",
    "second.use": True,
    "second.mine": {},
    "second.train": {"roles": "query"},
    "train.max_steps": 2,
    "train.batch_size": 3,
    "train.valid_passages": 40,
    "encode.precision": "fp32",
    "audit.min_recall": 0.0,
    "teacher.scores": "cross-encoder:trained",
    "rerank.model": "trained",
    "rerank.depth": 5,
    "rerank.train": {"steps": 2, "batch_size": 2, "passages": 3, "lr": 1e-4, "max_length": 16},
}


class Watch:
    """What a stage does: the settings that it reads and the files that it opens."""

    def __init__(self):
        self.groups, self.settings, self.opened, self.on = {}, set(), set(), False

    def loaded(self, settings):
        self.groups, self.settings = {id(settings): (settings, "")}, set()
        self.on = True
        return settings

    def read(self, group, name, value):
        known = self.groups.get(id(group))
        if not self.on or known is None or known[0] is not group:
            return
        path = known[1] + name
        if isinstance(value, Group):
            self.groups[id(value)] = (value, f"{path}.")
        elif name in type(group).model_fields:
            self.settings.add(path)
        elif name == "model_dump":
            self.settings |= {known[1] + field for field in type(group).model_fields}


WATCH = Watch()


def on_open(event, arguments):
    if event == "open" and WATCH.on and isinstance(arguments[0], str | os.PathLike):
        WATCH.opened.add(os.fspath(arguments[0]))


def watch_stages(root, model):
    """{(stage, system): (settings read, files opened, files made)}, from one run of the graph.

    Each stage runs in a folder that holds its declared deps and nothing else.
    """
    sys.addaudithook(on_open)
    original = Group.__getattribute__

    def recording(self, name):
        value = original(self, name)
        if not name.startswith("__"):
            WATCH.read(self, name, value)
        return value

    source, made, found = root / "source", root / "made", {}
    write_source(source)
    foreign = made / "data/external_runs/splade.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("q6 Q0 d6 1 2.5 splade\n")
    changes = {"data.collection": f"beir:{source}", "data.train": f"beir:{source}"}
    changes |= CHANGES | {"model.name": model}
    params = write_params(root / "params.yaml", changes)
    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Group, "__getattribute__", recording)
        for name, system in STEPS:
            folder = root / f"{name}-{system}"
            folder.mkdir()
            shutil.copy(params, folder / "params.yaml")
            for dep in deps(name, system):
                if not is_code(dep):  # the fingerprint of a folder stands for the folder
                    whole = dep.removesuffix("/passage_side.json")
                    copy(made / whole, folder / whole)
            given = files(folder)
            module = importlib.import_module(f"stages.{name}")
            WATCH.opened, WATCH.settings, WATCH.on = set(), set(), True
            if load := getattr(module, "load_settings", None):
                recorded = partial(lambda load, path: WATCH.loaded(load(path)), load)
                patch.setattr(module, "load_settings", recorded)
            os.chdir(folder)
            try:
                module.main(*([system] if system else []))
            finally:
                os.chdir(here)
                WATCH.on = False
            opened = {path for path in WATCH.opened if not Path(path).is_absolute()}
            opened |= {
                str(Path(path).relative_to(folder)) for path in WATCH.opened if str(folder) in path
            }
            now = files(folder)
            assert {path: now.get(path) for path in given} == given, f"{name} changes its deps"
            found[name, system] = (WATCH.settings, opened, now.keys() - given.keys())
            for out in outs(name, system):
                copy(folder / out, made / out)
    return found


def write_source(folder):
    """Eight topics, each a word of eight passages, two of which are judged relevant.

    And a passage without a text, which is relevant to a topic of each split.
    """
    from dpr.records import beir
    from dpr.records.types import Judgment, Passage, Query

    words = ["heart", "lung", "liver", "kidney", "brain", "bone", "skin", "eye"]
    texts = [(word, f"about the {word} " * (1 + i % 3)) for i, word in enumerate(words * 8)]
    texts.append(("", ""))
    beir.write_passages(folder, [Passage(f"d{i}", *text) for i, text in enumerate(texts)])
    beir.write_queries(folder, [Query(f"q{i}", word) for i, word in enumerate(words)])
    for split, numbers in (("train", range(4)), ("valid", (4, 5)), ("test", (6, 7))):
        judged = [Judgment(f"q{i}", f"d{i + 8 * n}", 1) for i in numbers for n in range(2)]
        judged.append(Judgment(f"q{numbers[0]}", f"d{len(texts) - 1}", 1))
        beir.write_qrels(folder, split, judged)


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def files(folder):
    """{path: sha256} of the files below a folder, but for scratch files."""
    found = {str(p.relative_to(folder)): sha256(p) for p in folder.rglob("*") if p.is_file()}
    return {path: digest for path, digest in found.items() if not path.startswith(".scratch")}
