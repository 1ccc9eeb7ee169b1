"""Makes `.venv` with the pinned packages, by uv or else by pip.

    python3 tools/install.py                          # what `make repro` needs
    python3 tools/install.py requirements-test.txt    # and what `make test` needs

It runs on the system's Python before there is any package, so it imports only the standard library.
An old Python must be able to read it, to say which one is needed. After a kill, run it again.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
OLDEST, NEWEST = (3, 11), (3, 14)  # of all pinned packages
GIGABYTES, CUDA_GIGABYTES = 4, 6  # all packages and their cache; what CUDA adds
# uv reads no pip.conf. These are pip's settings, and uv's variables for the same.
INDEXES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
}
NETWORK = {"cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY", "trusted-host": "UV_INSECURE_HOST"}
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"


def main() -> None:
    parser = argparse.ArgumentParser(description="Make .venv with the pinned packages.")
    parser.add_argument("more", nargs="*", help="files of more packages")
    more = parser.parse_args().more
    try:
        require_python()
        require_disk(GIGABYTES + (CUDA_GIGABYTES if has_gpu() else 0) - gigabytes(VENV))
        make_environment()
        install(["requirements.txt", *more])
    except KeyboardInterrupt:
        print("stopped; the same command continues the installation", file=sys.stderr)
        sys.exit(130)


def require_python() -> None:
    """Exit unless this Python is in the range and can make an environment."""
    this, oldest, newest = (f"{v[0]}.{v[1]}" for v in (sys.version_info, OLDEST, NEWEST))
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        sys.exit(
            f"Python {this}: the packages need Python {oldest} to {newest}. Install one, then: "
            f"make PYTHON=python{newest} repro"
        )
    if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        sys.exit(
            f"Python {this} lacks venv or ensurepip. On Debian and Ubuntu: "
            f"sudo apt install python{this}-venv"
        )


def require_disk(needed: float) -> None:
    """Exit unless so many gigabytes are free."""
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < needed:
        sys.exit(
            f"{ROOT}: {free:.1f} GB free, the packages need {needed:.1f} GB. Make room, run again"
        )


def make_environment() -> None:
    """An environment with pip. One that is there stays if it is of this version of Python."""
    # Installers write INSTALLER after a package's files: without it, the package is half there.
    packages = sysconfig.get_path("purelib", scheme="venv", vars={"base": str(VENV)})
    for folder in Path(packages).glob("*.dist-info"):
        if not (folder / "INSTALLER").exists():
            shutil.rmtree(folder)
    code = "import sys; from importlib.metadata import version as of; of('pip'); print(sys.version)"
    if printed(PYTHON, "-c", code).split(".")[:2] != sys.version.split(".")[:2]:
        print(f"making {VENV} with Python {sys.version.split()[0]}", flush=True)
        if not works(sys.executable, "-m", "venv", "--clear", VENV):
            sys.exit(f"{VENV}: cannot be made, see above. Remove it, then run again")


def install(files: list[str]) -> None:
    """What these files name, with uv if it can be had, and pyserini without its dependencies."""
    constraints = ["-c", ROOT / "constraints.txt"]
    steps = [
        [*(word for file in files for word in ("-r", ROOT / file)), *constraints],
        ["--no-deps", "-r", ROOT / "requirements-no-deps.txt"],
    ]
    pip = [PYTHON, "-m", "pip", "install", "--no-warn-conflicts"]
    variables = network_settings()
    print(f"installing {', '.join(files)} into {VENV}", flush=True)
    if not find_uv():
        works(*pip, "--quiet", "--retries", "1", "uv", *constraints, env=variables)
    uv = [find_uv(), "pip", "install", "--python", PYTHON]
    if uv[0] and all(works(*uv, *step, env=variables) for step in steps):
        return
    require_disk(1)
    print("uv does not install them here; trying pip, which takes minutes", flush=True)
    if not all(works(*pip, *step, env=variables) for step in steps):
        require_disk(1)
        sys.exit(
            "the packages are not installed, see above. A proxy goes into HTTPS_PROXY, a mirror "
            "into PIP_INDEX_URL. The same command continues the installation"
        )


def find_uv() -> str | None:
    return shutil.which("uv", path=os.pathsep.join([str(BIN), os.environ.get("PATH", "")]))


def network_settings() -> dict[str, str]:
    """The environment of both installers: pip's settings are uv's too, unless uv has its own.

    Where nobody chose an index and there is no GPU, PyTorch comes without its gigabytes of CUDA.
    """
    pip = pip_settings()
    found = {uv: pip[name] for name, uv in {**INDEXES, **NETWORK}.items() if name in pip}
    found["UV_SYSTEM_CERTS"] = "true"  # as pip does
    if "UV_INDEX" in found:
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip does: all indexes are equal
    if "UV_FIND_LINKS" in found:
        found["UV_FIND_LINKS"] = ",".join(found["UV_FIND_LINKS"].split())
    found.update(os.environ)
    chosen = {*INDEXES.values(), "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_TORCH_BACKEND"}
    if sys.platform == "linux" and not chosen & {*found} and not has_gpu():
        if answers(CPU_WHEELS):
            print("no NVIDIA GPU here: PyTorch without CUDA", flush=True)
            found.update(UV_TORCH_BACKEND="cpu", PIP_EXTRA_INDEX_URL=CPU_WHEELS)
        else:
            print("PyTorch with CUDA: the index without it does not answer", flush=True)
            require_disk(CUDA_GIGABYTES)
    return found


def pip_settings() -> dict[str, str]:
    """pip's settings, of files and PIP_*, the last of three sections first."""
    found = {}
    listed = printed(PYTHON, "-m", "pip", "config", "list").splitlines()
    for section in ("global.", "install.", ":env:."):
        for line in listed:
            name, _, value = line.partition("=")
            if name.startswith(section):
                found[name[len(section) :]] = " ".join(ast.literal_eval(value).split())
    return found


def has_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or bool(shutil.which("nvidia-smi"))


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=5))
    except Exception:  # no network, or a proxy with an answer of its own
        return False


def gigabytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*")) / 1e9


def works(*command: object, env: dict[str, str] | None = None) -> bool:
    """Whether the command succeeds. It prints as it likes."""
    try:
        return subprocess.run([str(word) for word in command], env=env).returncode == 0
    except OSError:
        return False


def printed(*command: object) -> str:
    """What the command prints; nothing if it cannot be run."""
    words = [str(word) for word in command]
    try:
        return subprocess.run(words, capture_output=True, text=True).stdout
    except OSError:
        return ""


if __name__ == "__main__":
    main()
