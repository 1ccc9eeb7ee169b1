"""The whole experiment on another collection, as a DVC experiment of its own.

It runs in a copy of the workspace. What it has in common with other experiments (training above
all) DVC takes from its cache, and an experiment that is there is not run again.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dvc.api
from dvc.scm import RevError

from dpr.base.errors import InputError
from dpr.base.files import fingerprint

COMPARED = "metrics/compare.json"
FOLDERS = ("beir", "nanobeir")  # kinds of collections that name a folder


def results(collection: str, changes: dict[str, str]) -> dict[str, Any]:
    """metrics/compare.json of a collection, from an experiment that is run now if need be.

    Args:
        collection: a value of data.collection; folders may be relative.
        changes: other parameters, as `dvc exp run -S` takes them.
    Raises:
        InputError: if the experiment fails; it has said why.
    """
    collection, version = _read_again(collection)
    changes = {"data.collection": collection, **version, **changes}
    name = f"suite-{Path(collection).name.replace(':', '-')}-{_key(changes)}"
    found = _read(name)
    if found is None:
        overrides = [part for key, value in changes.items() for part in ("-S", f"{key}={value}")]
        command = ["dvc", "exp", "run", "--temp", "--name", name, *overrides]
        print(f"{collection}: {' '.join(command)}", file=sys.stderr)
        if subprocess.run(command, stdout=sys.stderr).returncode:
            raise InputError(f"{collection}: its experiment failed, see above")
        found = _read(name)
    assert found is not None
    return found


def _read_again(collection: str) -> tuple[str, dict[str, str]]:
    """The collection, its folder found from another folder too; and a version of its files."""
    kind, _, name = collection.partition(":")
    if kind not in FOLDERS:
        return collection, {}
    folder = Path(name)
    if not folder.is_dir():
        raise InputError(f"{collection}: no such folder")
    return f"{kind}:{folder.absolute()}", {"data.version": "v" + fingerprint([folder])[:8]}


def _key(changes: dict[str, str]) -> str:
    """Of the commit, what has been changed since, and the parameters."""
    git = [
        subprocess.run(["git", *command], capture_output=True, text=True, check=True).stdout
        for command in (["rev-parse", "HEAD"], ["diff", "HEAD"])
    ]
    return hashlib.sha256(json.dumps([git, changes]).encode()).hexdigest()[:8]


def _read(name: str) -> dict[str, Any] | None:
    """The results of an experiment; None if there is none of that name."""
    try:
        found: dict[str, Any] = json.loads(dvc.api.read(COMPARED, rev=name))
    except RevError:
        return None
    return found
