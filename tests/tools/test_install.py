"""tools/install.py with a fake uv, pip, disk and Python: what it runs, refuses and finishes."""

import ast
import re
import shutil
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from helpers import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FILES = ["requirements.txt", "requirements-no-deps.txt", "requirements-test.txt", "constraints.txt"]
# What pyserini imports only in its servers, in tests and in code that we do not use.
LEFT_OUT = ["cython", "datasets", "fastapi", "fastmcp", "flask", "matplotlib", "pytest", "uvicorn"]
NVIDIA = Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi")

UV = """#!/bin/sh
echo "uv $*" >> "$LOG"
env | grep -E '^(UV_|ALL_PROXY)' >> "$LOG"
[ -z "$KILL" ] || kill -9 $PPID
exit ${UV_EXIT_CODE:-0}
"""
PIP = """
import os, shutil, sys
if sys.argv[1:] == ["config", "list"]:
    sys.exit(print(os.environ.get("PIP_LIST", "")))
with open(os.environ["LOG"], "a") as log:
    print("pip", *sys.argv[1:], file=log)
if "uv" in sys.argv and "UV_TO_INSTALL" in os.environ:
    shutil.copy(os.environ["UV_TO_INSTALL"], os.path.join(sys.prefix, "bin", "uv"))
sys.exit(int(os.environ.get("PIP_EXIT_CODE", "0")))
"""
VENV = """
import os, sys
sys.path.remove(os.environ["PYTHONPATH"])
del sys.modules["venv"]
import venv
venv.create(sys.argv[-1], clear="--clear" in sys.argv, symlinks=True)
"""


class Project:
    """A folder with the script, and commands that only write down how they were called."""

    def __init__(self, folder):
        self.folder, self.log = folder / "project", folder / "log"
        (self.folder / "tools").mkdir(parents=True)
        for name in ["tools/install.py", "Makefile", *FILES]:
            shutil.copy(ROOT / name, self.folder / name)
        self.commands, self.modules = folder / "commands", folder / "modules"
        self.uv = self.commands / "uv"
        for name, text in {"pip": PIP, "venv": VENV}.items():  # before the real ones
            (self.modules / name).mkdir(parents=True)
            (self.modules / name / "__init__.py").write_text("")
            (self.modules / name / "__main__.py").write_text(text)
        (self.modules / "pip-99.dist-info").mkdir()
        (self.modules / "pip-99.dist-info/METADATA").write_text("Name: pip\nVersion: 99\n")
        self.commands.mkdir()
        self.uv.write_text(UV)
        self.uv.chmod(0o755)

    def call(self, *words, before="", command=None, **variables):
        """Run the script, after the lines of `before`: returns code, log's lines and messages."""
        self.log.write_text("")
        code = f"{before}\nimport runpy; runpy.run_path('tools/install.py', run_name='__main__')"
        done = subprocess.run(
            command or [sys.executable, "-c", code, *words],
            cwd=self.folder,
            env={"LOG": str(self.log), "PYTHONPATH": str(self.modules), "HOME": str(self.folder)}
            | {"PATH": f"{self.commands}:/usr/bin:/bin", "UV_TORCH_BACKEND": "auto"}
            | {name: str(value) for name, value in variables.items()},
            capture_output=True,
            text=True,
        )
        self.said, self.printed = done.stderr, done.stdout
        return done.returncode, self.log.read_text().replace(f"{self.folder}/", "").splitlines()


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def calls(lines, start=""):
    return [line for line in lines if line.startswith(("uv ", "pip ")) and line.startswith(start)]


PINNED = "-r requirements.txt -c constraints.txt"
ALONE = "--no-deps -r requirements-no-deps.txt"


def test_uv_installs_the_pinned_packages_and_pyserini_alone(project):
    code, lines = project.call()
    assert (code, project.said) == (0, "")
    start = "uv pip install --python .venv/bin/python "
    assert calls(lines) == [start + PINNED, start + ALONE]
    code, lines = project.call("requirements-test.txt")
    more = PINNED.replace("-c", "-r requirements-test.txt -c")
    assert calls(lines) == [start + more, start + ALONE]


def test_pip_fetches_uv_and_takes_over_where_uv_cannot(project):
    kept = project.uv.rename(project.folder / "uv")
    code, lines = project.call(UV_TO_INSTALL=kept)
    fetch, *rest = calls(lines)
    assert (code, len(rest), calls(lines, "uv")) == (0, 2, rest)
    assert fetch.startswith("pip install") and fetch.endswith(" uv -c constraints.txt")
    code, lines = project.call(UV_EXIT_CODE=2)
    assert (code, len(calls(lines, "uv"))) == (0, 1)
    assert [line.split("conflicts ")[1] for line in calls(lines, "pip")] == [PINNED, ALONE]
    shutil.rmtree(project.folder / ".venv")
    code, lines = project.call(PIP_EXIT_CODE=1)
    assert code == 1 and project.said.count("\n") == 1
    assert "HTTPS_PROXY" in project.said and "PIP_INDEX_URL" in project.said


def disk(*free):
    """Code after which the disk has so many bytes free, each time that it is asked."""
    return f"""
import shutil
from types import SimpleNamespace
free = iter({free})
shutil.disk_usage = lambda path: SimpleNamespace(free=next(free))"""


CONFIG = r""":env:.find-links='/wheels\n/more'
global.extra-index-url='https://b/simple\nhttps://c/simple'
global.index-url='https://old/simple'
global.proxy='http://proxy:3128'
install.index-url='https://a/simple'"""


def test_uv_gets_the_indexes_of_pip_unless_it_has_its_own(project):
    _, lines = project.call(PIP_LIST=CONFIG)
    expected = {
        "UV_DEFAULT_INDEX=https://a/simple",
        "UV_INDEX=https://b/simple https://c/simple",
        "UV_INDEX_STRATEGY=unsafe-best-match",
        "UV_FIND_LINKS=/wheels,/more",
        "ALL_PROXY=http://proxy:3128",
    }
    assert expected <= set(lines)
    _, lines = project.call(PIP_LIST=CONFIG, UV_DEFAULT_INDEX="https://mine/simple")
    assert "UV_DEFAULT_INDEX=https://mine/simple" in lines


ANSWER = "import urllib.request; urllib.request.urlopen = lambda *_, **__: True"
SILENT = """
import urllib.request, urllib.error
def urlopen(*_, **__): raise urllib.error.URLError("no route")
urllib.request.urlopen = urlopen"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PyTorch brings no CUDA")
@pytest.mark.parametrize(
    ("before", "variables", "expected"),
    [
        pytest.param(ANSWER, {}, True, marks=pytest.mark.skipif(bool(NVIDIA), reason="a GPU")),
        (SILENT, {}, False),
        (ANSWER, {"PIP_LIST": "global.index-url='https://mirror/simple'"}, False),
        (ANSWER, {"UV_INDEX": "https://mirror/simple"}, False),
        (ANSWER, {"GPU": "1"}, False),
    ],
)
def test_pytorch_comes_without_cuda_only_if_nobody_could_want_it(
    project, before, variables, expected
):
    if "GPU" in variables:
        shutil.copy(project.uv, project.commands / "nvidia-smi")
    before += "\nimport os; del os.environ['UV_TORCH_BACKEND']"
    before += (
        "\nimport shutil; shutil.disk_usage = lambda path: shutil._ntuple_diskusage(*[10**12] * 3)"
    )
    _, lines = project.call(before=before, **variables)
    assert ("UV_TORCH_BACKEND=cpu" in lines) == expected
    assert ("PyTorch with CUDA: the index" in project.printed) == (before.startswith(SILENT))


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("import sys; sys.version_info = (3, 9, 1)", r"Python 3\.9: .* 3\.11 to .*make PYTHON="),
        ("import sys; sys.version_info = (3, 99, 0)", r"Python 3\.99: .* to 3\.\d+\. Install"),
        ("import sys; sys.modules['ensurepip'] = None", r"apt install python3\.\d+-venv"),
        ("", r"2\.0 GB free, the packages need \d+\.\d GB\. Make room"),
    ],
)
def test_what_cannot_work_is_one_line_before_anything_is_made(project, before, message):
    code, lines = project.call(before=f"{disk(2 * 10**9)}\n{before}")
    assert (code, lines) == (1, [])
    assert re.search(message, project.said) and project.said.count("\n") == 1
    assert not (project.folder / ".venv").exists()


def test_a_disk_that_fills_while_uv_works_is_named(project):
    code, lines = project.call(before=disk(10**12, 10**7), UV_EXIT_CODE=1)
    assert (code, calls(lines, "pip")) == (1, [])
    assert "0.0 GB free" in project.said


def test_make_goes_on_after_a_kill_and_takes_nothing_half_made_for_ready(project):
    command = ["make", f"PYTHON={sys.executable}", ".venv/ready"]
    code, _ = project.call(command=command, KILL=1)
    venv = project.folder / ".venv"
    assert code and not (venv / "ready").exists()
    packages = next(venv.glob("lib/python*/site-packages"))
    for name, files in {"half": ["METADATA"], "whole": ["METADATA", "INSTALLER"]}.items():
        (packages / f"{name}-1.dist-info").mkdir()
        for file in files:
            (packages / f"{name}-1.dist-info" / file).write_text("")
    code, lines = project.call(command=command)
    assert (code, len(calls(lines))) == (0, 2), project.said
    assert (venv / "ready").exists()
    assert [path.name for path in packages.glob("*.dist-info")] == ["whole-1.dist-info"]


@pytest.mark.parametrize("broken", ["its Python is gone", "of a different version", "no pip"])
def test_a_broken_environment_is_made_anew(project, broken):
    assert project.call()[0] == 0
    python, trace = project.folder / ".venv/bin/python", project.folder / ".venv/trace"
    trace.touch()
    assert project.call()[0] == 0 and trace.exists()
    python.unlink()
    if broken == "its Python is gone":
        python.symlink_to("/nowhere/python")
    else:
        answer = "3.2.1 (main)" if broken == "of a different version" else ""
        python.write_text(f"#!/bin/sh\necho '{answer}'\n")
        python.chmod(0o755)
    assert project.call()[0] == 0 and not trace.exists()
    assert python.exists()


def test_an_old_python_can_read_it_and_needs_no_package():
    tree = ast.parse((ROOT / "tools/install.py").read_text(), feature_version=(3, 7))
    assert isinstance(tree.body[1], ast.ImportFrom) and tree.body[1].module == "__future__"
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    assert {alias.name.split(".")[0] for node in imports for alias in node.names} <= {
        *sys.stdlib_module_names
    }


def named(file):
    lines = [line.split("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    return {canonicalize_name(line.split("==")[0]): line for line in lines if line}


def test_pyserini_lacks_only_what_is_left_out():
    needed = [Requirement(line) for line in requires("pyserini") or []]
    needed = {canonicalize_name(need.name) for need in needed if not need.marker}
    assert needed - set(named("requirements.txt")) == set(LEFT_OUT)
    assert list(named("requirements-no-deps.txt")) == ["pyserini"]


def test_a_package_is_pinned_once():
    files = [set(named(name)) for name in [*FILES, "requirements-loggers.txt"]]
    assert sum(map(len, files)) == len(set.union(*files))
    assert all("==" in line for name in FILES for line in named(name).values())


def test_readme_and_workflows_name_pythons_that_are_not_refused():
    code = (ROOT / "tools/install.py").read_text()
    oldest, newest = re.search(r"OLDEST, NEWEST = \(3, (\d+)\), \(3, (\d+)\)", code).groups()
    assert f"Python 3.{oldest} to 3.{newest}, " in (ROOT / "README.md").read_text()
    workflows = [path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml")]
    named = [int(minor) for text in workflows for minor in re.findall(r'"3\.(\d+)"', text)]
    assert min(named) == int(oldest) and max(named) == int(newest)
