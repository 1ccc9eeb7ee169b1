"""The versions that decide results: recorded, and compared before any work."""

import pytest
import yaml
from helpers import ROOT

from dpr.base.environment import installed
from dpr.base.errors import InputError
from stages import versions
from tools import versions as tool

RECORDED = yaml.safe_load((ROOT / "versions.yaml").read_text())


def test_versions_yaml_is_what_requirements_pin():
    files = [ROOT / name for name in ("requirements.txt", "requirements-no-deps.txt")]
    lines = [line for file in files for line in file.read_text().split()]
    assert {f"{package}=={version}" for package, version in RECORDED.items()} <= set(lines)


def test_a_build_is_no_version_and_a_missing_package_is_left_out(monkeypatch):
    assert installed("no-such-package") == {}
    monkeypatch.setattr("dpr.base.environment.version", lambda package: "2.13.0+cu130")
    assert installed("torch") == {"torch": "2.13.0"}


def test_another_version_is_refused_until_it_is_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "versions.yaml"
    path.write_text("# why\n")
    versions.record(installed(*RECORDED) | {"torch": "1.0.0", "not-installed": "2.0.0"})
    now = installed("torch")["torch"]
    message = rf"versions\.yaml: torch 1\.0\.0, but {now} is installed"
    with pytest.raises(InputError, match=message):
        versions.require_recorded()
    tool.main()
    assert capsys.readouterr().out == f"torch: 1.0.0 -> {now}\n"
    versions.require_recorded()
    written = path.read_text()
    assert written.startswith("# why\n") and 'not-installed: "2.0.0"' in written
    tool.main()
    assert path.read_text() == written


CONFLICT = '<<<<<<< HEAD\ntorch: "1.0.0"\n=======\ntorch: "2.0.0"\n>>>>>>> branch\n'


@pytest.mark.parametrize("text", [CONFLICT, "", "torch"])
def test_a_malformed_file_is_named_and_stays(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "versions.yaml").write_text(text)
    with pytest.raises(InputError, match=r"versions\.yaml: not valid YAML"):
        tool.main()
    assert (tmp_path / "versions.yaml").read_text() == text
