"""docs/class.md and its notebook, as a class follows them."""

import ast
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import test_commands
from helpers import ROOT, call, environment, sh

from dpr.base.files import read_json

NOTEBOOK = ROOT / "docs/first-steps.ipynb"
PAGE = (ROOT / "docs/class.md").read_text()
DONE = ("make repro", "python3 tools/install.py", "source ", "cd ")  # of the tiny experiment
COMMIT = "git -c user.name=t -c user.email=t@example.org commit"
DAEMON = Path(sh(ROOT, "git --exec-path").strip()) / "git-daemon"


def block(words):
    """The commands of the first sh block after these words of the page."""
    lines = re.findall(r"```sh\n(.*?)```", PAGE.split(words, 1)[1], re.DOTALL)[0].splitlines()
    commands = [line.split("  #")[0].strip() for line in lines]
    return [command for line in commands for command in line.split(" && ")]


def follow(folder, commands, **names):
    """What the commands print in this folder, with these names filled in."""
    printed = ""
    for command in commands:
        for name, value in names.items():
            command = command.replace(name, str(value))
        if not command.startswith(DONE):
            printed += sh(folder, command.replace("git commit", COMMIT))
    return printed


@pytest.fixture
def server(tmp_path):
    """The address of a folder of repositories; programs of this machine may read and write them."""
    if not DAEMON.exists():
        pytest.skip("this git has no daemon")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "server"
    folder.mkdir()
    _, command = block("For a room without a git server")
    command = command.replace("/PATH/server", str(folder))
    command = command.replace("daemon", f"daemon --listen=127.0.0.1 --port={port}").split()
    daemon = subprocess.Popen(command, env=environment(), start_new_session=True)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield folder / "course.git", f"git://127.0.0.1:{port}/course.git"
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait()


@pytest.mark.slow
def test_a_class_shares_experiments(experiment, server, tmp_path):
    repository, address = server
    sh(tmp_path, f"git clone -q --bare {experiment} {repository}")
    names = {"ADDRESS": address, "/PATH/": f"{tmp_path}/"}
    clone, *rest = block("The instructor, with that ADDRESS")
    follow(tmp_path, [clone], course="instructor", **names)
    instructor, ada = tmp_path / "instructor", tmp_path / "ada"
    sh(instructor, f"dvc cache dir --local {experiment / '.dvc/cache'}")
    sh(instructor, f"dvc exp pull -q --no-cache {experiment} tiny")
    sh(instructor, "dvc exp apply -q tiny")  # in place of `make repro`
    follow(instructor, rest, **names)

    clone, *rest = block("Each student")
    follow(tmp_path, [clone], course="ada", **names)
    follow(ada, rest, **names)
    assert "up to date" in sh(ada, "dvc status")
    assert "Pushed experiment ada-rrf" in follow(ada, block("A student runs"), **names)
    row = sh(ada, "python -m tools.row --who ada")
    assert "fuse.rrf_k=50" in row

    sh(instructor, f"dvc cache dir --local {tmp_path / 'cache'}")  # an empty one
    printed = follow(instructor, block("The instructor, or"), **names)
    assert "ada-rrf" in printed and "-> " in printed
    assert "up to date" in sh(instructor, "dvc status")
    assert sh(instructor, "python -m tools.row --who ada") == row
    compared = [read_json(side / "metrics/compare.json") for side in (ada, instructor)]
    assert compared[0] == compared[1]

    # A taken name: nothing is pushed, and DVC exits with 0.
    refs = sh(repository, "git for-each-ref refs/exps")
    sh(instructor, "git checkout -q -f HEAD .")
    params = (instructor / "params.yaml").read_text()
    (instructor / "params.yaml").write_text(params.replace("rrf_k: 60", "rrf_k: 40"))
    sh(instructor, "dvc exp save --force --name ada-rrf")
    done = call(instructor, "dvc exp push --no-cache origin ada-rrf")
    assert "has diverged" in done.stdout + done.stderr and not done.returncode
    assert sh(repository, "git for-each-ref refs/exps") == refs


def code_cells():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_the_notebook_has_no_outputs_and_names_that_exist(tmp_path):
    """`make lint` finds undefined names in it."""
    for cell in code_cells():
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
        lines = "".join(cell["source"]).splitlines()
        for line in lines:
            for command in line[1:].split(" && ") if line.startswith("!") else ():
                start = next(start for start in test_commands.CHECKS if command.startswith(start))
                test_commands.CHECKS[start](shlex.split(command), tmp_path)
        for node in ast.walk(ast.parse("\n".join(x for x in lines if not x.startswith("!")))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith(("dpr", "tools")):
                module = importlib.import_module(node.module)
                for name in (alias.name for alias in node.names):
                    assert hasattr(module, name) or importlib.import_module(f"{node.module}.{name}")


@pytest.mark.slow
def test_the_notebook_runs(experiment, tmp_path):
    """With the results of the tiny experiment as HEAD."""
    import nbclient
    import nbformat

    clone = shutil.copytree(experiment, tmp_path / "clone", symlinks=True)
    sh(clone, f"{COMMIT} -qam baseline")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    at = {"metadata": {"path": str(clone / "docs")}}
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3", resources=at).execute()
    printed = "".join(
        out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", [])
    )
    assert "1402 passages, 20 test topics" in printed
    assert "nDCG@10 over 10 topics" in printed and "nDCG@10 over 20 topics" in printed
    figures = [
        out["data"] for cell in notebook.cells for out in cell.get("outputs", []) if "data" in out
    ]
    assert any("<svg" in data.get("image/svg+xml", "") for data in figures)
    assert not sh(clone, "git status --porcelain -- params.yaml dvc.lock metrics plots")
