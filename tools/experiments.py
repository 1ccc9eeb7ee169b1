"""The whole experiment on another collection, as a DVC experiment of its own.

It runs in a copy of the workspace. What it has in common with other experiments (training above
all) DVC takes from its cache, and an experiment that is there is not run again: its name has a key
of code, parameters, and the files outside the repository that it reads.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import dvc.api
from dvc.exceptions import DvcException
from dvc.scm import RevError
from dvc.utils.hydra import apply_overrides

from dpr.base.errors import InputError
from dpr.base.files import fingerprint
from dpr.settings import Settings, load_settings

COMPARED, PARAMS = "metrics/compare.json", Path("params.yaml")
FOLDERS = ("beir", "nanobeir")  # kinds of collections that name a folder
# Parameters that may name a file or a folder, by group.
NAMES = {"data": ("collection", "train"), "model": ("name", "query_name"), "teacher": ("scores",)}


def results(collection: str, changes: dict[str, str]) -> dict[str, Any]:
    """metrics/compare.json of a collection, from an experiment that is run now if need be.

    Args:
        collection: a value of data.collection; folders may be relative.
        changes: other parameters, as `dvc exp run -S` takes them.
    Raises:
        InputError: for parameters that do not load, or if the experiment fails; it has said why.
    """
    kind, _, folder = collection.partition(":")
    if kind in FOLDERS and not Path(folder).is_dir():
        raise InputError(f"{collection}: no such folder")
    changes = {"data.collection": quoted(collection), **changes}
    changes |= {key: quoted(value) for key, value in outside(changed(changes)).items()}
    name = f"suite-{as_ref(Path(collection).name)}-{_key(changes)}"
    found = _read(name)
    if found is None:
        overrides = [part for key, value in changes.items() for part in ("-S", f"{key}={value}")]
        command = ["dvc", "exp", "run", "--temp", "--name", name, *overrides]
        print(f"{collection}: {' '.join(command)}", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, "-m", *command], stdout=sys.stderr, env=with_this_python()
        )
        if done.returncode:
            raise InputError(f"{collection}: its experiment failed, see above")
        found = _read(name)
    assert found is not None
    return found


def as_ref(name: str) -> str:
    """What git takes in the name of a reference, and DVC in that of an experiment."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", name)


def with_this_python() -> dict[str, str]:
    """The environment with this Python's commands first, for stages are `python -m ...`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return os.environ | {"PATH": path}


def changed(changes: dict[str, str]) -> Settings:
    """The settings of params.yaml with changes."""
    with tempfile.TemporaryDirectory() as folder:
        params = Path(folder) / PARAMS.name
        params.write_bytes(PARAMS.read_bytes())
        try:
            apply_overrides(params, [f"{key}={value}" for key, value in changes.items()])
        except DvcException as error:
            raise InputError(f"-S: {error.__cause__ or error}") from None
        return load_settings(params)


def outside(settings: Settings) -> dict[str, str]:
    """What to set so that files outside the repository are found, and read again if they changed.

    Their names, absolute, and for each group a version that has their fingerprint.
    """
    found = {}
    for group, keys in NAMES.items():
        values, files = getattr(settings, group), []
        for key in keys:
            value = getattr(values, key) or ""
            names = [_located(group, name) for name in value.split(" + ")]
            if here := [file for _, file in names if file]:
                files += here
                found[f"{group}.{key}"] = " + ".join(name for name, _ in names)
        if files:
            found[f"{group}.version"] = f"{values.version or 'v'}-{fingerprint(files)[:8]}"
    return found


def _located(group: str, name: str) -> tuple[str, Path | None]:
    """A name with its path absolute, and the path; or as it is, and None, as for medline."""
    kind, colon, place = ("", "", name) if group == "model" else name.partition(":")
    if not place or not Path(place).exists():
        return name, None
    return f"{kind}{colon}{Path(place).absolute()}", Path(place)


def quoted(value: str) -> str:
    """As Hydra takes any text."""
    return '"' + value.replace('"', '\\"') + '"'


def _key(changes: dict[str, str]) -> str:
    """Of the commit, what has been changed since, and the parameters."""
    try:
        git = [
            subprocess.run(["git", *command], capture_output=True, text=True, check=True).stdout
            for command in (["rev-parse", "HEAD"], ["diff", "HEAD"])
        ]
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", error)).strip()
        raise InputError(f"an experiment needs a git repository with a commit ({said})") from None
    return hashlib.sha256(json.dumps([git, changes]).encode()).hexdigest()[:8]


def _read(name: str) -> dict[str, Any] | None:
    """The results of an experiment; None if there is none of that name."""
    try:
        found: dict[str, Any] = json.loads(dvc.api.read(COMPARED, rev=name))
    except RevError:
        return None
    return found
