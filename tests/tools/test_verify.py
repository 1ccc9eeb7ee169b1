"""expected.yaml, and what is OK."""

import math

import pytest
from helpers import ROOT
from ruamel.yaml import YAML

from dpr.base.errors import InputError
from dpr.base.files import write_json
from dpr.records.types import SYSTEMS
from dpr.settings import load_settings
from tools import verify

EXPECTED = YAML(typ="safe", pure=True).load(ROOT / "expected.yaml")


@pytest.mark.parametrize(
    ("value", "within", "found", "outcome"),
    [
        (0.4, 0.002, 0.4020, "OK"),
        (0.4, 0.002, 0.3980, "OK"),
        (0.4, 0.002, 0.4021, "FAIL"),
        (0.4, 0.0, 0.40004, "OK"),  # as rounded
        (0.4, 0.0, 0.4001, "FAIL"),
        (0.4, 0.002, math.nan, "FAIL"),
    ],
)
def test_a_figure_is_within_its_tolerance_or_fails(value, within, found, outcome):
    expected = {"dense": {"nDCG@10": value, "within": within}}
    rows = verify.check(expected, {"dense": {"nDCG@10": {"mean": found}}})
    assert [row[-1] for row in rows] == [outcome]


def test_a_figure_that_is_not_there_fails():
    expected = {"dense": {"nDCG@10": 0.4, "recall@100": 0.6, "within": 0.1}}
    rows = verify.check(expected, {"dense": {"nDCG@10": {"mean": 0.4}}})
    assert [row[-2:] for row in rows] == [["0.1", "OK"], ["0.1", "FAIL"]]
    assert verify.check(expected, {})[0][3] == "missing"


@pytest.fixture
def made_here(monkeypatch):
    """As if DVC said so; tests/pipeline/test_current.py asks it."""
    monkeypatch.setattr(verify.sides, "stale", lambda *stages: None)


def test_the_metrics_of_this_commit_are_as_expected(made_here, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert verify.main(None, None)
    printed = capsys.readouterr().out
    assert printed.count("| OK") == 2 * (len(SYSTEMS) - 1)  # reranked is off


def test_a_changed_figure_fails(made_here, tmp_path, monkeypatch, capsys):
    (tmp_path / "expected.yaml").write_text((ROOT / "expected.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    systems = EXPECTED["medline"]["systems"]
    found = {s: {m: {"mean": v} for m, v in row.items()} for s, row in systems.items()}
    found["bm25"]["nDCG@10"]["mean"] += 0.01
    write_json("metrics/compare.json", {"systems": found})
    assert not verify.main(None, None)
    (failed,) = [line for line in capsys.readouterr().out.splitlines() if "FAIL" in line]
    assert failed.startswith("| bm25") and "nDCG@10" in failed
    for name in (None, "medlin"):
        with pytest.raises(InputError, match=f"not {name!r}: medline, cacm"):
            verify.main("beir:/data/cacm", name)


@pytest.mark.parametrize("name", EXPECTED)
def test_rows_are_whole(name, tmp_path):
    """Systems that exist, parameters that load."""
    from dvc.utils.hydra import apply_overrides

    rows = EXPECTED[name]
    assert rows["source"]
    assert rows["systems"].keys() <= set(SYSTEMS)
    for figures in rows["systems"].values():
        assert "within" in figures and "nDCG@10" in figures
        assert all(0 < value < 1 for value in figures.values())
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    apply_overrides(path, [f"{key}={value}" for key, value in rows.get("set", {}).items()])
    load_settings(path)
