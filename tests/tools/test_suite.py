"""A suite runs an experiment again if a file outside the repository changed that it reads."""

import shlex
import shutil
import sys
from types import SimpleNamespace

import pytest
from dulwich.refs import check_ref_format
from dvc.scm import RevError
from helpers import ROOT, write_params

from dpr.base.errors import InputError
from dpr.settings import load_settings
from tools import overrides, suite

# What is named, by parameter; each is a file or folder in the test's own folder.
NAMED = {
    "data.collection": "beir:{}/searched",
    "data.train": "medline + beir:{}/trained + triples:{}/lines.tsv",
    "model.name": "{}/model",
    "model.query_name": "{}/query model",
    "teacher.scores": "file:{}/scores.jsonl",
}
OTHERS = {"model.tied": False, "train.teacher_share": 0.5}
FILES = [
    *["searched/corpus.jsonl", "searched/qrels/test.tsv", "trained/qrels/train.tsv", "lines.tsv"],
    *["model/model.safetensors", "model/1_Pooling/config.json", "query model/config.json"],
    "scores.jsonl",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """With all that is named, as the current one."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    changes = {key: value.format(*[tmp_path] * 2) for key, value in NAMED.items()}
    write_params(tmp_path / "params.yaml", changes | OTHERS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def commands(monkeypatch):
    """The `dvc exp run` that were called; each succeeds."""
    called, made = [], {}

    def run(command, **options):
        if command[0] == "git":
            return SimpleNamespace(stdout="the same")
        called.append((command, options["env"]))
        made[command[command.index("--name") + 1]] = {"number": len(called)}
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(suite.subprocess, "run", run)

    def read(name):
        if name not in made:
            raise RevError(name)
        return made[name]

    monkeypatch.setattr(suite, "_read", read)
    return called


def call(folder):
    return suite.results(f"beir:{folder}/searched", {"bm25.b": "0.5"})


def test_the_same_is_not_run_again(folder, commands):
    assert [call(folder), call(folder)] == [{"number": 1}] * 2


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_read_again(folder, commands, name):
    call(folder)
    (folder / name).write_text("changed")
    assert call(folder) == {"number": 2}
    (one, _), (other, _) = commands
    changed = {a.split(".")[0] for a, b in zip(one, other, strict=True) if a != b and "=" in a}
    key = next(k for k, value in NAMED.items() if "{}/" + name.split("/")[0] in value)
    assert changed == {key.split(".")[0]}  # only the version of its group: the rest is in the cache


def test_what_is_passed_on_is_what_params_load_as(folder, commands):
    """Paths are absolute, as the experiment runs elsewhere; any letter survives Hydra."""
    shutil.move(folder / "model", folder / "mo'del, (né) = ~1")
    suite.results("beir:searched", {"model.name": '"mo\'del, (né) = ~1"', "data.version": "a"})
    ((command, environment),) = commands
    overrides = [command[i + 1] for i, word in enumerate(command) if word == "-S"]
    suite.apply_overrides("params.yaml", overrides)
    found = load_settings("params.yaml")
    assert found.data.collection == f"beir:{folder}/searched"
    trained = NAMED["data.train"].format(folder, folder)
    assert found.data.train == trained
    assert found.model.name == f"{folder}/mo'del, (né) = ~1"
    assert found.data.version.startswith("a-")
    assert environment["PATH"].split(":")[0] == str(suite.Path(sys.executable).parent)


def test_a_path_may_have_what_separates_parameters(folder, commands):
    """A comma, a key and `=`; and a value that names files needs no quotes."""
    odd = folder / "né,bm25.b=1"
    shutil.copytree(folder / "searched", odd)
    assert suite.job(f"beir:{odd}", []) == (f"beir:{odd}", {})
    collection, changes = suite.job(f"beir:{odd}s,bm25.b=2", [f"data.train=beir:{odd}", "seed=1"])
    assert collection == f"beir:{folder}/né"
    assert changes == {"data.train": f'"beir:{odd}"', "seed": "1", "bm25.b": "2"}
    suite.results("medline", suite.job("medline", [f"data.train=beir:{odd}"])[1])
    ((command, _),) = commands
    assert f'data.train="beir:{odd}"' in command


@pytest.mark.parametrize("name", ["naïve (1)", "a~b", "a..b", "a^b:c?*[@{"])
def test_the_name_of_any_folder_becomes_one_that_git_takes(folder, commands, name):
    shutil.copytree(folder / "searched", folder / name)
    suite.results(f"beir:{folder / name}", {})
    ((command, _),) = commands
    ref = f"refs/exps/{command[command.index('--name') + 1]}"
    assert check_ref_format(ref.encode())


def test_a_suite_checks_the_measures_of_each_collection_before_it_runs_any(folder, commands):
    asked = ["medline", "beir:searched,eval.measures=[nDCG@10]"]
    with pytest.raises(InputError, match=r"^beir:searched.*: the tables need recall@100"):
        suite.main(asked, [])
    with pytest.raises(InputError, match=r"^medline: .* need recall@100"):
        suite.main(asked[:1], ["eval.measures=[nDCG@10]"])
    assert commands == []


def test_names_that_are_no_files_stay(folder):
    (folder / "medline").mkdir()
    settings = load_settings(ROOT / "params.yaml")
    assert suite.outside(settings) == {}


@pytest.mark.parametrize("text", ["/naïve (1)", "a ~ b", "it's", 'a "b" \\', "a,b=c", "${a}", ""])
def test_any_text_passes_shell_and_hydra(folder, text):
    """As a user pastes what a tool prints; numbers stay numbers."""
    line = overrides.shown({"model.query_prefix": f"x{text}", "train.batch_size": 8})
    words = shlex.split(line)
    suite.apply_overrides("params.yaml", words[1::2])
    settings = load_settings("params.yaml")
    assert (settings.model.query_prefix, settings.train.batch_size) == (f"x{text}", 8)


def test_a_text_without_quotes_is_told_to_have_them(folder):
    with pytest.raises(InputError, match=r"LexerNoViable(.|\n)* needs quotes within quotes"):
        suite.changed({"model.query_prefix": "naïve (1)"})


@pytest.mark.parametrize("change", ["train.lr=", "train.lr=x", "train.rl=1"])
def test_a_wrong_parameter_is_named_before_anything_runs(folder, commands, change):
    key, value = change.split("=")
    with pytest.raises(InputError, match=key):
        suite.results("medline", {key: value})
    assert commands == []


def test_without_git(folder):
    with pytest.raises(InputError, match="needs a git repository with a commit"):
        suite._key({})
