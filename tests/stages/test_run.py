"""The command line of every stage and tool."""

import os
import runpy
import subprocess
import sys

import pytest
from helpers import ROOT

from stages import encode
from stages.run import BACK, one_line_errors, run

COMMANDS = [
    f"{package}.{path.stem}"
    for package in ("stages", "tools")
    for path in sorted((ROOT / package).glob("*.py"))
    if '__name__ == "__main__"' in path.read_text()
    if path.stem != "install"  # a script of the system's Python: tests/tools/test_install.py
]


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """call(module, arguments) -> (exit code, what it printed), in an empty folder."""

    def run(module, *arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        with pytest.raises(SystemExit) as caught:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        assert list(tmp_path.iterdir()) == []  # no work was begun
        printed = capsys.readouterr()
        return caught.value.code, printed.out + printed.err

    return run


@pytest.mark.parametrize("module", COMMANDS)
def test_help_tells_what_it_reads_and_makes_and_gives_an_example(call, module):
    code, printed = call(module, "--help")
    assert code == 0
    assert printed.startswith(f"usage: python -m {module}")
    assert "reads " in printed.lower()
    assert f"    python -m {module}" in printed


@pytest.mark.parametrize("module", COMMANDS)
def test_wrong_arguments_exit_with_2(call, module):
    code, printed = call(module, "a", "b", "c", "--unknown")
    assert code == 2
    assert printed.startswith(f"usage: python -m {module}")


@pytest.mark.parametrize("module", ["stages.encode", "stages.search", "tools.export", "tools.diff"])
def test_missing_arguments_exit_with_2(call, module):
    code, printed = call(module)
    assert code == 2
    assert "the following arguments are required" in printed


def test_an_error_of_the_user_exits_with_1(tmp_path):
    """In a process of its own, as DVC starts it."""
    command = [sys.executable, "-m", "stages.encode", "dense"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "encode dense: versions.yaml: no such file; run from the root of the repository\n"
    )


@pytest.mark.parametrize(
    ("root", "change", "said"),
    [
        ("{}", "data.collection: x", True),
        ("{}", "", False),
        ("{}/elsewhere", "data.collection: x", False),  # a queued experiment
        (None, "data.collection: x", False),  # without DVC
    ],
)
def test_a_failed_stage_says_how_to_take_changed_parameters_back(
    tmp_path, monkeypatch, root, change, said
):
    """Tried in a git repository; the command is tried in tests/pipeline/test_failures.py."""
    params = tmp_path / "params.yaml"
    params.write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["encode", "dense"])
    monkeypatch.delenv("DVC_ROOT", raising=False)
    if root:
        monkeypatch.setenv("DVC_ROOT", root.format(tmp_path))

    def failed():
        with pytest.raises(SystemExit) as caught:
            run(encode.main)
        return caught.value.code.splitlines()

    assert len(failed()) == 1  # no git repository
    for command in (
        "init -q",
        "add -A",
        "-c user.name=t -c user.email=t@example.org commit -qm start",
    ):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    params.write_text(f"seed: 1\n{change}")
    error, *more = failed()
    assert error.startswith("encode dense: versions.yaml: no such file")
    assert [BACK in line for line in more] == [True] * said


PRINTS = """
from stages.run import BACK, one_line_errors
with one_line_errors("many"):
    for number in range({}):
        print("a line", number)
"""


@pytest.mark.parametrize("lines", [10, 100_000])  # one buffer, and more than a pipe takes
def test_a_reader_that_has_ended_ends_it_quietly(lines):
    """As `| head` does."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", PRINTS.format(lines)]
    done = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_another_broken_pipe_is_an_error():
    """Such as one to a process that has died."""
    with pytest.raises(BrokenPipeError), one_line_errors("many"):
        raise BrokenPipeError
