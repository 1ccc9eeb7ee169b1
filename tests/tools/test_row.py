"""The row of a workspace, and tables that it is not added to."""

import csv
import fcntl
import json
import multiprocessing
import shutil

import pytest
from helpers import ROOT, sh, write_params

from dpr.base.errors import InputError
from tools import row

COMPARED = json.loads((ROOT / "metrics/compare.json").read_text())
ROW = "ada,0123456789,0.5,0.4,+0.1,0.01,0.6,all,-,a processor\n"


@pytest.fixture
def result(here, monkeypatch):
    """A commit of this repository's metrics, which DVC says are fresh."""
    shutil.copytree(ROOT / "metrics", here / "metrics")
    for command in ("init -q", "add -A", "-c user.name=t -c user.email=t@example.org commit -qm x"):
        sh(here, f"git {command}")
    sh(here, "dvc init -q")
    monkeypatch.setattr(row.sides, "require", lambda *stages: None)
    return here


def cells(text):
    (found,) = csv.DictReader(text.splitlines())
    return found


def test_the_row_has_the_figures_of_the_metrics(result, capsys):
    row.main(None, " Ada,\n of London ", "HEAD")
    found = cells(capsys.readouterr().out)
    assert (found["who"], found["changed"]) == ("Ada, of London", "-")
    assert found["commit"] == sh(result, "git rev-parse HEAD")[: len(found["commit"])]
    means = [COMPARED["systems"][s]["nDCG@10"]["mean"] for s in ("dense", "zero_shot")]
    assert [float(found[key]) for key in ("nDCG@10", "zero_shot")] == pytest.approx(means, abs=6e-5)
    assert float(found["gain"]) == pytest.approx(means[0] - means[1], abs=6e-5)
    test = COMPARED["against"]["zero_shot"]["dense"]["nDCG@10"]
    assert float(found["p"]) == test["p_randomization"]


@pytest.mark.parametrize(
    ("changes", "suffix", "over"),
    [
        ({}, "", "500"),
        ({"second.use": True}, "_second", "all"),
        ({"train.max_steps": 0}, None, "-"),
    ],
)
def test_validation_is_that_of_the_last_round_that_ran(result, capsys, changes, suffix, over):
    write_params(result / "params.yaml", changes)
    row.main(None, "ada", "HEAD")
    found = cells(capsys.readouterr().out)
    assert found["over"] == over
    if suffix is not None:
        best = json.loads((ROOT / f"metrics/train{suffix}.json").read_text())["best"]["nDCG@10"]
        assert float(found["valid"]) == pytest.approx(best, abs=6e-5)


def test_changed_parameters_are_named_as_they_are_typed(result, capsys):
    changes = {
        "train.lr": 3e-5,
        "train.epochs": 2,
        "train.max_steps": None,
        "train.matryoshka": [64, 128],
        "model.tied": False,
        "model.query_prefix": "find:\nq ",
        "similarity": "dot",
    }
    write_params(result / "params.yaml", changes)
    row.main(None, "ada", "HEAD")
    found = set(cells(capsys.readouterr().out)["changed"].split(" train."))
    assert {"lr=3e-5", "max_steps=null", "epochs=2"} <= found
    found = " ".join(found)
    assert "matryoshka=[64, 128]" in found and "model.tied=false" in found
    assert r'model.query_prefix="find:\nq "' in found and "similarity=dot" in found
    with pytest.raises(InputError, match="no-such-revision"):
        row.main(None, "ada", "no-such-revision")


@pytest.mark.parametrize("who", ["", "  ", "=1+1", "@ada"])
def test_a_name_is_a_name(result, who):
    with pytest.raises(InputError, match=r"--who: .*begin the name with a letter"):
        row.main(None, who, "HEAD")


def test_code_that_was_edited_is_marked(result):
    assert not row.commit().endswith("+code")
    (result / "dpr").mkdir()
    (result / "dpr/new.py").touch()
    assert row.commit().endswith("+code")


def test_a_new_table_gets_a_header_and_the_next_row_none(tmp_path):
    table = tmp_path / "class.csv"
    row.append(table, ROW)
    row.append(table, ROW.replace("ada", "alan"))
    assert table.read_text() == row.HEADER + ROW + ROW.replace("ada", "alan")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,score\nada,1\n", r"class\.csv: line 1 is not who,commit,.*; name a new file"),
        ("\n", "line 1 is not"),
        (b"\xff\x00", "line 1 is not"),
        (row.HEADER + ROW[:20], r"line 2 has no end, .* end it: echo >> .*class\.csv"),
        (row.HEADER + ROW, "line 2 is this very row; nothing was added"),
        ("\ufeff" + (row.HEADER + ROW).replace("\n", "\r\n"), "line 2 is this very row"),  # Excel
    ],
)
def test_a_table_is_left_as_it_is(tmp_path, content, message):
    table = tmp_path / "class.csv"
    content = content if isinstance(content, bytes) else content.encode()
    table.write_bytes(content)
    with pytest.raises(InputError, match=message):
        row.append(table, ROW)
    assert table.read_bytes() == content


def test_a_table_that_cannot_be_opened(tmp_path):
    with pytest.raises(InputError, match=r"folder/class\.csv: No such file or directory; "):
        row.append(tmp_path / "no such folder/class.csv", ROW)
    with pytest.raises(InputError, match="Is a directory"):
        row.append(tmp_path, ROW)


def test_who_appends_waits_for_who_writes(tmp_path):
    """Two begin a new table at once: the second sees the header of the first."""
    table = tmp_path / "class.csv"
    with table.open("wb", buffering=0) as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = multiprocessing.get_context("fork").Process(target=row.append, args=(table, ROW))
        second.start()
        second.join(1)
        assert second.is_alive()
        first.write((row.HEADER + ROW.replace("ada", "alan")).encode())
        fcntl.flock(first, fcntl.LOCK_UN)  # the fork has this file open, too
    second.join()
    assert table.read_text() == row.HEADER + ROW.replace("ada", "alan") + ROW
